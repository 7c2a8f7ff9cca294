//! Label sets, and tables whose series can be dropped.
//!
//! Every label value is a word of this program, except those of a series' owner: a namespace, a pod, a
//! workload, a DNS server; [`super::owners`] bounds those. prometheus-client's own `Family` cannot drop the
//! series of one owner, hence [`Table`].

use std::borrow::Cow;
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

/// What owns series: all series of an owner are dropped together.
pub(super) trait SeriesOwner: Clone + Debug + Ord + Send + Sync + 'static {
    /// Its labels. A label's value has no character that a terminal would act on.
    fn labels(&self) -> Vec<(&'static str, Cow<'_, str>)>;
}

impl SeriesOwner for Owner {
    fn labels(&self) -> Vec<(&'static str, Cow<'_, str>)> {
        let mut labels = vec![("namespace", replaced(&self.namespace))];
        if let Some(pod) = &self.pod {
            labels.push(("pod", replaced(pod)));
        }
        labels
    }
}

/// `N` labels with words of this program, and the series' owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Labels<const N: usize, O> {
    pub words: [(&'static str, &'static str); N],
    pub owner: O,
}

impl<const N: usize, O: SeriesOwner> EncodeLabelSet for Labels<N, O> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        for word in &self.words {
            word.encode(encoder.encode_label())?;
        }
        for (name, value) in self.owner.labels() {
            (name, value).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

/// One metric for each label set.
pub(super) struct Table<const N: usize, M, O = Owner> {
    series: Arc<Mutex<BTreeMap<Labels<N, O>, M>>>,
    new: fn() -> M,
}

impl<const N: usize, M, O: SeriesOwner> Table<N, M, O> {
    /// A table without series; `new` makes one.
    pub fn new(new: fn() -> M) -> Table<N, M, O> {
        Table {
            series: Arc::default(),
            new,
        }
    }

    /// Updates the series with these labels.
    pub fn with(
        &self,
        words: [(&'static str, &'static str); N],
        owner: &O,
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
pub(super) trait Forget<O>: Send + Sync {
    /// Drops the series of these owners.
    fn forget(&self, gone: &dyn Fn(&O) -> bool);
}

impl<const N: usize, M: Send, O: SeriesOwner> Forget<O> for Table<N, M, O> {
    fn forget(&self, gone: &dyn Fn(&O) -> bool) {
        self.series.lock().retain(|labels, _| !gone(&labels.owner));
    }
}

impl<const N: usize, M, O> Clone for Table<N, M, O> {
    fn clone(&self) -> Table<N, M, O> {
        Table {
            series: Arc::clone(&self.series),
            new: self.new,
        }
    }
}

impl<const N: usize, M, O> Debug for Table<N, M, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} series", self.series.lock().len())
    }
}

impl<const N: usize, M: EncodeMetric + TypedMetric, O: SeriesOwner> EncodeMetric
    for Table<N, M, O>
{
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
