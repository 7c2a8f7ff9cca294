//! Label sets, and tables whose series can be dropped.
//!
//! Every label value is a word of this program, except namespaces and pods; [`super::owners`] bounds those.
//! prometheus-client's own `Family` cannot drop the series of one namespace, hence [`Table`].

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::{
    EncodeLabel as _, EncodeLabelSet, EncodeMetric, LabelSetEncoder, MetricEncoder,
};
use prometheus_client::metrics::{MetricType, TypedMetric};
use tracer_core::model::printable::replaced;

/// The pod or namespace that a series belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Owner {
    /// The pod's namespace; empty for an unknown pod.
    pub namespace: Arc<str>,
    /// The pod, if pods have series of their own.
    pub pod: Option<Arc<str>>,
}

/// `N` labels with words of this program, and the series' owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Labels<const N: usize> {
    pub words: [(&'static str, &'static str); N],
    pub owner: Owner,
}

impl<const N: usize> EncodeLabelSet for Labels<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        for word in &self.words {
            word.encode(encoder.encode_label())?;
        }
        ("namespace", replaced(&self.owner.namespace)).encode(encoder.encode_label())?;
        if let Some(pod) = &self.owner.pod {
            ("pod", replaced(pod)).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

/// One metric for each label set.
pub(super) struct Table<const N: usize, M> {
    series: Arc<Mutex<BTreeMap<Labels<N>, M>>>,
    new: fn() -> M,
}

impl<const N: usize, M> Table<N, M> {
    /// A table without series; `new` makes one.
    pub fn new(new: fn() -> M) -> Table<N, M> {
        Table {
            series: Arc::default(),
            new,
        }
    }

    /// Updates the series with these labels.
    pub fn with(
        &self,
        words: [(&'static str, &'static str); N],
        owner: &Owner,
        update: impl FnOnce(&M),
    ) {
        let labels = Labels {
            words,
            owner: owner.clone(),
        };
        update(self.series.lock().entry(labels).or_insert_with(self.new));
    }
}

/// A table of any metric type whose series can be dropped.
pub(super) trait Forget: Send + Sync {
    /// Drops the series of these owners.
    fn forget(&self, gone: &dyn Fn(&Owner) -> bool);
}

impl<const N: usize, M: Send> Forget for Table<N, M> {
    fn forget(&self, gone: &dyn Fn(&Owner) -> bool) {
        self.series.lock().retain(|labels, _| !gone(&labels.owner));
    }
}

impl<const N: usize, M> Clone for Table<N, M> {
    fn clone(&self) -> Table<N, M> {
        Table {
            series: Arc::clone(&self.series),
            new: self.new,
        }
    }
}

impl<const N: usize, M> Debug for Table<N, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} series", self.series.lock().len())
    }
}

impl<const N: usize, M: EncodeMetric + TypedMetric> EncodeMetric for Table<N, M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (labels, metric) in self.series.lock().iter() {
            metric.encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}
