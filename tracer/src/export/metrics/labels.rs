//! Label sets, and tables of series that can be forgotten.
//!
//! Every label but the pod's names is a word of this program, so only namespaces and pods need a bound; [`super::names`]
//! keeps it. prometheus-client's own `Family` cannot forget the series of one namespace, hence [`Table`].

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::{
    EncodeLabel as _, EncodeLabelSet, EncodeMetric, LabelSetEncoder, MetricEncoder,
};
use prometheus_client::metrics::{MetricType, TypedMetric};
use tracer_core::model::printable::replaced;

/// Whose series it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Who {
    /// The pod's namespace; empty where the pod is not known.
    pub namespace: Arc<str>,
    /// The pod, where pods have series of their own.
    pub pod: Option<Arc<str>>,
}

/// `N` words of this program and, for what happened to a pod, whose it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Labels<const N: usize> {
    pub words: [(&'static str, &'static str); N],
    pub who: Who,
}

impl<const N: usize> EncodeLabelSet for Labels<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        for word in &self.words {
            word.encode(encoder.encode_label())?;
        }
        ("namespace", replaced(&self.who.namespace)).encode(encoder.encode_label())?;
        if let Some(pod) = &self.who.pod {
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
    /// Without a series; `new` makes one.
    pub fn new(new: fn() -> M) -> Table<N, M> {
        Table {
            series: Arc::default(),
            new,
        }
    }

    /// Counts something in the series of these labels.
    pub fn with(&self, words: [(&'static str, &'static str); N], who: &Who, act: impl FnOnce(&M)) {
        let labels = Labels {
            words,
            who: who.clone(),
        };
        act(self.lock().entry(labels).or_insert_with(self.new));
    }

    /// Drops the series of those who fit.
    pub fn forget(&self, fits: &dyn Fn(&Who) -> bool) {
        self.lock().retain(|labels, _| !fits(&labels.who));
    }

    /// A panic elsewhere while it was locked leaves counters, each of them whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Labels<N>, M>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
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
        write!(f, "{} series", self.lock().len())
    }
}

impl<const N: usize, M: EncodeMetric + TypedMetric> EncodeMetric for Table<N, M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (labels, metric) in self.lock().iter() {
            metric.encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}
