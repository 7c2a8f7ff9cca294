//! What the path of an attempt shows of its end, in words.

use super::sentence;
use crate::model::path::{Hop, Path, Verdict};
use crate::model::sentence::Sentence;

/// The words for a path's verdict.
#[derive(Debug, Default)]
pub(in crate::diagnose) struct AlongPath {
    /// The cause, as a clause of a headline.
    pub because: Option<Sentence>,
    /// What to do, as a clause.
    pub fix: Option<Sentence>,
    /// What is certain, and what is possible at that place.
    pub why: Option<Sentence>,
}

impl AlongPath {
    fn new(because: Sentence, why: Sentence) -> AlongPath {
        AlongPath {
            because: Some(because),
            fix: None,
            why: Some(why),
        }
    }

    fn fix(self, fix: Sentence) -> AlongPath {
        AlongPath {
            fix: Some(fix),
            ..self
        }
    }
}

/// The words for what a path shows; `None` if it shows no more than a finding says without it.
pub(in crate::diagnose) fn along_path(path: &Path) -> Option<AlongPath> {
    let name = |hop: &Hop| Sentence::from(hop.name.to_string());
    let pod = || path.server().map(name);
    let end = path.end();
    Some(match path.verdict {
        Verdict::LostBetweenNodes => {
            let mut nodes = path.nodes().map(name);
            let (from, to) = (nodes.next()?, nodes.next()?);
            AlongPath::new(
                sentence!("lost between {} and {}", from, to),
                sentence!(
                    "The path shows that it left {} and did not come to {}, and that neither kernel dropped it: it was lost in the network between them, or in their network cards.",
                    from,
                    to
                ),
            )
            .fix(sentence!("check the network between {} and {}", from, to))
        }
        Verdict::LostOnNode => {
            let node = name(path.nodes().next()?);
            AlongPath::new(
                sentence!("lost on {}", node),
                sentence!(
                    "The path shows that it was lost on {}, the node of both pods, without a drop that was seen.",
                    node
                ),
            )
        }
        Verdict::LostBeforePod => AlongPath::new(
            sentence!("lost on the way to {}", pod()?),
            sentence!(
                "The path shows that it did not come to {}; where it was lost is not known.",
                pod()?
            ),
        ),
        Verdict::DroppedOnClientNode | Verdict::DroppedOnServerNode => dropped(end?, None),
        Verdict::AnswerDropped => dropped(end?, Some(pod()?)),
        Verdict::DroppedInPod => AlongPath::new(
            sentence!("dropped in {}", pod()?),
            sentence!(
                "The path shows that it came to {} and was dropped there ({}): possibly by a firewall in the pod.",
                pod()?,
                Sentence::from(end?.what.clone())
            ),
        ),
        Verdict::RefusedBeforePod => AlongPath::new(
            sentence!("refused before it came to {}", pod()?),
            sentence!(
                "The path shows that it was refused before it came to {}, by something on the way.",
                pod()?
            ),
        ),
        Verdict::NotAnswered => AlongPath::new(
            sentence!("it came to {}, which sent nothing", pod()?),
            sentence!(
                "The path shows that it came to {}, which sent nothing. Possible causes: the program there is frozen or overloaded, so that its queue is full (Recv-Q of ss -lntu), or something in the pod or at its interface drops it.",
                pod()?
            ),
        )
        .fix(sentence!("check {}", pod()?)),
        Verdict::AnswerLost => AlongPath::new(
            sentence!("{} answered, and the answer was lost", pod()?),
            sentence!(
                "The path shows that it came to {}, which answered, and that the answer was lost on the way back.",
                pod()?
            ),
        ),
        Verdict::Answered
        | Verdict::RefusedByPod
        | Verdict::AnswerNotTranslated
        | Verdict::ResetByClient
        | Verdict::ResetByPod
        | Verdict::ResetOnTheWay
        | Verdict::ServerHalfUnknown
        | Verdict::ClientHalfUnknown => return None,
    })
}

/// Dropped by a node's kernel: the request, or the answer of this pod.
fn dropped(end: &Hop, answered: Option<Sentence>) -> AlongPath {
    let node = || Sentence::from(end.name.to_string());
    let what = || Sentence::from(end.what.clone());
    let words = match answered {
        None => AlongPath::new(
            sentence!("dropped on {}", node()),
            sentence!("The path shows where it ended: on {} ({}).", node(), what()),
        ),
        Some(pod) => AlongPath::new(
            sentence!("the answer was dropped on {}", node()),
            sentence!(
                "The path shows that it came to {}, which answered, and where the answer ended: on {} ({}).",
                pod,
                node(),
                what()
            ),
        ),
    };
    words.fix("check why that node drops it".into())
}
