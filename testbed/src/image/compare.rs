//! Finds where two image archives differ, as close to the cause as possible: the platform, the layer, the
//! file in it.

use std::collections::BTreeMap;
use std::io::Read as _;

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;
use serde_json::Value;

/// Entries of a tar file by path: their headers, without checksums, and contents.
type Entries = BTreeMap<String, (Vec<u8>, Vec<u8>)>;

/// Describes the first difference. `None` if the archives are equal byte for byte.
pub fn first_difference(one: &[u8], other: &[u8]) -> Result<Option<String>> {
    if one == other {
        return Ok(None);
    }
    let (one, other) = (Layout::read(one)?, Layout::read(other)?);
    let manifests = one.manifests()?.into_iter().zip(other.manifests()?);
    for ((platform, manifest), (other_platform, other_manifest)) in manifests {
        if platform != other_platform {
            return Ok(Some(format!(
                "one is for {platform}, the other for {other_platform}"
            )));
        }
        let layers = list(&manifest["layers"])
            .iter()
            .zip(list(&other_manifest["layers"]));
        for (number, (layer, other_layer)) in (1..).zip(layers) {
            let unpacked = unpack(one.blob(layer)?)?;
            let other_unpacked = unpack(other.blob(other_layer)?)?;
            let said = between(&unpacked, &other_unpacked).or_else(|| {
                let same = layer["digest"] == other_layer["digest"];
                (!same).then(|| "compressed to different bytes".to_owned())
            });
            if let Some(said) = said {
                return Ok(Some(format!("{platform}, layer {number}: {said}")));
            }
        }
        if manifest["config"] != other_manifest["config"] {
            let config = String::from_utf8_lossy(one.blob(&manifest["config"])?);
            let other = String::from_utf8_lossy(other.blob(&other_manifest["config"])?);
            return Ok(Some(format!(
                "{platform}, configuration: {config} and {other}"
            )));
        }
    }
    let said = between(&one.0, &other.0).unwrap_or_else(|| "the archive around them".to_owned());
    Ok(Some(format!("the layers are the same; {said}")))
}

/// The first entry that differs.
fn between(one: &Entries, other: &Entries) -> Option<String> {
    let missing = |(path, _): &(&String, _), there: &Entries| !there.contains_key(path.as_str());
    if let Some((path, _)) = one.iter().find(|entry| missing(entry, other)) {
        return Some(format!("{path} is in the first alone"));
    }
    if let Some((path, _)) = other.iter().find(|entry| missing(entry, one)) {
        return Some(format!("{path} is in the second alone"));
    }
    one.iter().find_map(|(path, (header, content))| {
        let (other_header, other_content) = other.get(path)?;
        if content != other_content {
            let same = content
                .iter()
                .zip(other_content)
                .take_while(|(byte, other)| byte == other);
            return Some(format!(
                "{path} differs from byte {} on ({} and {} bytes)",
                same.count(),
                content.len(),
                other_content.len()
            ));
        }
        (header != other_header)
            .then(|| format!("{path} differs in its owner, time or permissions"))
    })
}

/// An archive's files.
struct Layout(Entries);

impl Layout {
    fn read(archive: &[u8]) -> Result<Layout> {
        Ok(Layout(entries(archive)?))
    }

    fn file(&self, path: &str) -> Result<&[u8]> {
        let entry = self.0.get(path);
        Ok(&entry
            .with_context(|| format!("the archive has no {path}"))?
            .1)
    }

    fn blob(&self, descriptor: &Value) -> Result<&[u8]> {
        let digest = descriptor["digest"].as_str().context("no digest")?;
        self.file(&format!("blobs/{}", digest.replacen(':', "/", 1)))
    }

    /// Each platform's, with its name.
    fn manifests(&self) -> Result<Vec<(String, Value)>> {
        let top: Value = serde_json::from_slice(self.file("index.json")?)?;
        let index: Value = serde_json::from_slice(self.blob(&top["manifests"][0])?)?;
        let listed = list(&index["manifests"]).iter().map(|listed| {
            let platform = &listed["platform"];
            let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
            let name = format!(
                "{}/{}",
                word(&platform["os"]),
                word(&platform["architecture"])
            );
            Ok((name, serde_json::from_slice(self.blob(listed)?)?))
        });
        listed.collect()
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn unpack(layer: &[u8]) -> Result<Entries> {
    let mut tar = Vec::new();
    GzDecoder::new(layer)
        .read_to_end(&mut tar)
        .context("a layer")?;
    entries(&tar)
}

fn entries(archive: &[u8]) -> Result<Entries> {
    let mut archive = tar::Archive::new(archive);
    let mut entries = Entries::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.display().to_string();
        let mut header = entry.header().clone();
        // The fields that are compared on their own.
        header.set_size(0);
        header.set_cksum();
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        entries.insert(path, (header.as_bytes().to_vec(), content));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use oci_spec::image::Arch;

    use super::super::archive::tests::{image, variant};
    use super::super::archive::{File, Image};
    use super::*;

    fn written(change: impl FnOnce(&mut Image)) -> Vec<u8> {
        let mut image = image();
        image.variants.push(variant(Arch::ARM64, b"of the other"));
        change(&mut image);
        let mut bytes = Vec::new();
        image.write(&mut bytes).expect("it can be written");
        bytes
    }

    fn reported(change: impl FnOnce(&mut Image)) -> String {
        let said = first_difference(&written(|_| ()), &written(change)).expect("images");
        said.expect("they differ")
    }

    #[test]
    fn the_same_images_do_not_differ() {
        let said = first_difference(&written(|_| ()), &written(|_| ()));
        assert_eq!(said.expect("images"), None);
    }

    #[test]
    fn a_difference_is_named_by_platform_layer_and_file() {
        let changed = reported(|image| {
            let program = File::Plain(0o755, b"of the otter".to_vec());
            let files = &mut image.variants[1].files;
            files.insert("usr/bin/thing".to_owned(), program);
        });
        assert_eq!(
            changed,
            "linux/arm64, layer 1: usr/bin/thing differs from byte 9 on (12 and 12 bytes)"
        );
        let more = reported(|image| {
            let files = &mut image.variants[0].files;
            files.insert("etc".to_owned(), File::Directory(0o755));
        });
        assert_eq!(more, "linux/amd64, layer 1: etc/ is in the second alone");
        let permitted = reported(|image| {
            let program = File::Plain(0o700, b"program".to_vec());
            let files = &mut image.variants[0].files;
            files.insert("usr/bin/thing".to_owned(), program);
        });
        assert_eq!(
            permitted,
            "linux/amd64, layer 1: usr/bin/thing differs in its owner, time or permissions"
        );
    }

    #[test]
    fn a_difference_beside_the_files_is_reported_too() {
        let entrypoint = reported(|image| image.entrypoint.push("agent".to_owned()));
        assert!(
            entrypoint.starts_with("linux/amd64, configuration: {"),
            "{entrypoint}"
        );
        let named = reported(|image| image.reference = "registry.example/thing:1.3".to_owned());
        let beside = "the layers are the same; index.json differs";
        assert!(named.starts_with(beside), "{named}");
    }
}
