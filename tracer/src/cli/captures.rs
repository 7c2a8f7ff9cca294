//! `--replay`: one capture, or those of several nodes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;

use crate::config::Source;
use tracer_core::identity::Index;

/// Captures, each with its node.
pub(super) type Captures = Vec<(Arc<str>, PathBuf)>;

/// The source that these captures are. Each is FILE or NODE=FILE.
pub(super) fn source(captures: &[PathBuf]) -> anyhow::Result<Source> {
    if let [file] = captures
        && named(file).is_none()
    {
        return Ok(Source::Replay(file.clone()));
    }
    let mut nodes = Captures::new();
    for capture in captures {
        let (node, file) = named(capture).unwrap_or_else(|| (stem(capture), capture.clone()));
        if file.as_os_str() == "-" {
            bail!("--replay -: standard input is one capture; with several, give files");
        }
        if nodes.iter().any(|(known, _)| *known == node) {
            bail!(
                "two captures of {node}: name the nodes with --replay NODE=FILE, or merge the files with mergecap"
            );
        }
        nodes.push((node, file));
    }
    Ok(Source::Replays(nodes))
}

/// The captures with their nodes, if one is named, or a file is named after a node of the inventory and others are
/// too. Otherwise they need not be of one time.
pub(super) fn of_nodes(captures: &[PathBuf], index: &Index) -> anyhow::Result<Option<Captures>> {
    let has_pods = |node: &Arc<str>| index.pods().any(|pod| pod.node.as_ref() == Some(node));
    let of_nodes = captures.iter().filter(|file| has_pods(&stem(file)));
    if !captures.iter().any(|file| named(file).is_some()) && of_nodes.count() < 2 {
        return Ok(None);
    }
    match source(captures)? {
        Source::Replays(captures) => Ok(Some(captures)),
        _ => Ok(None),
    }
}

/// The parts of NODE=FILE. A file can have that name itself.
fn named(capture: &Path) -> Option<(Arc<str>, PathBuf)> {
    let (node, file) = capture.to_str()?.split_once('=')?;
    let is_node = !node.is_empty() && !node.contains('/');
    (is_node && !file.is_empty() && !capture.exists()).then(|| (node.into(), file.into()))
}

/// The file's name up to the first dot.
fn stem(file: &Path) -> Arc<str> {
    let name = file.file_name().unwrap_or(file.as_os_str());
    let name = name.to_string_lossy();
    name.split('.').next().unwrap_or(&name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(captures: &[&str]) -> Result<Source, String> {
        let captures: Vec<PathBuf> = captures.iter().map(Into::into).collect();
        source(&captures).map_err(|error| error.to_string())
    }

    #[test]
    fn captures_are_told_apart_by_node_or_file() {
        assert_eq!(nodes(&["-"]), Ok(Source::Replay("-".into())));
        assert_eq!(
            nodes(&["a/b.pcap.gz"]),
            Ok(Source::Replay("a/b.pcap.gz".into()))
        );
        let two = vec![
            ("client".into(), "x/client.pcap.gz".into()),
            ("node-2".into(), "server=1.pcap".into()),
        ];
        assert_eq!(
            nodes(&["x/client.pcap.gz", "node-2=server=1.pcap"]),
            Ok(Source::Replays(two))
        );
        let one = vec![("n".into(), "f".into())];
        assert_eq!(nodes(&["n=f"]), Ok(Source::Replays(one)));
        assert!(nodes(&["a/x.pcap", "b/x.pcap"]).is_err());
        assert!(nodes(&["a/x.pcap", "-"]).is_err());
    }
}
