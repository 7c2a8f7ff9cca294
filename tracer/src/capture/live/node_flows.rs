//! Shows the probes at the node's uplinks which flows of the node are over: a packet of no flow costs them less than a
//! look-up.

use aya::maps::{Array, Map, MapData, MapError};
use tracer_common::{FlowKey, NODE_FLOW_SLOTS};

type Slots = [u64; NODE_FLOW_SLOTS];

/// The probes' two tables, by slot: how many flows of the node they have opened, and how many of these are over.
pub(super) struct NodeFlows {
    opened: Array<MapData, Slots>,
    over: Array<MapData, Slots>,
}

/// How many flows are over, while the flow table is listed.
pub(super) struct Over(Box<Slots>);

impl NodeFlows {
    pub fn new(opened: Map, over: Map) -> Result<NodeFlows, MapError> {
        Ok(NodeFlows {
            opened: Array::try_from(opened)?,
            over: Array::try_from(over)?,
        })
    }

    /// All that are open now, until the list of flows shows those that exist. A flow that is opened afterwards makes
    /// its slot differ whatever the list shows: nothing is lost between the list and [`NodeFlows::set_over`].
    pub fn begin(&self) -> Result<Over, MapError> {
        self.opened.get(&0, 0).map(Box::new).map(Over)
    }

    pub fn set_over(&mut self, over: &Over) -> Result<(), MapError> {
        self.over.set(0, *over.0, 0)
    }
}

impl Over {
    /// The flow is in the table.
    pub fn exists(&mut self, key: &FlowKey) {
        let over = &mut self.0[key.node_flow_slot()];
        *over = over.wrapping_sub(1);
    }
}
