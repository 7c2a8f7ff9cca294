//! Container images as OCI archives (image-spec v1.1: an image layout in a tar file), byte for byte the same
//! for the same content. Owns the format; knows nothing of what is in an image, and runs nothing.
//!
//! What varies between two machines is left out or fixed: times come from the caller, owners are root,
//! entries are sorted, compression has no time stamp, JSON objects are sorted.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::env;
use std::io::{self, Write};

use anyhow::{Context as _, Result, bail, ensure};
pub use flate2::Compression;
use flate2::GzBuilder;
use oci_spec::image::{
    ANNOTATION_REF_NAME, Arch, ConfigBuilder, Descriptor, DescriptorBuilder, Digest,
    ImageConfigurationBuilder, ImageIndexBuilder, ImageManifestBuilder, MediaType,
    OciLayoutBuilder, Os, PlatformBuilder, RootFsBuilder,
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// The name under which containerd stores what it imports.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// This machine's architecture.
pub fn host() -> Result<Arch> {
    match env::consts::ARCH {
        "x86_64" => Ok(Arch::Amd64),
        "aarch64" => Ok(Arch::ARM64),
        other => bail!("no images are made for {other}, this machine's architecture"),
    }
}

/// An image of one layer for each architecture.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name with tag, as a registry would serve it.
    pub reference: String,
    /// When it was made, in seconds since 1970: every time stamp in it.
    pub created: i64,
    /// The program, with fixed arguments.
    pub entrypoint: Vec<String>,
    /// `NAME=value`.
    pub environment: Vec<String>,
    /// Annotations and labels alike.
    pub labels: BTreeMap<String, String>,
    /// The compression level: high for a registry, low for use on this machine.
    pub compression: Compression,
    /// What it runs on, at least one.
    pub variants: Vec<Variant>,
}

/// What an image is on one architecture.
#[derive(Clone, Debug)]
pub struct Variant {
    /// The architecture.
    pub architecture: Arch,
    /// Everything in it, by path without a leading slash. Directories above are made.
    pub files: BTreeMap<String, File>,
}

/// An entry of a layer.
#[derive(Clone, Debug)]
pub enum File {
    /// A directory, with its permissions.
    Directory(u32),
    /// A file, with its permissions.
    Plain(u32, Vec<u8>),
    /// A symbolic link.
    Link(String),
}

impl Image {
    /// Writes the archive and returns the digest of the image's index: what identifies the image.
    pub fn write(&self, out: impl Write) -> Result<String> {
        let mut archive = Archive {
            tar: tar::Builder::new(out),
            created: self.time()?,
            blobs: BTreeMap::new(),
        };
        // Sorted: the same image for any order of platforms.
        let mut variants = BTreeMap::new();
        for variant in &self.variants {
            let architecture = variant.architecture.to_string();
            ensure!(
                variants.insert(architecture, variant).is_none(),
                "an image has one variant for {}, not two",
                variant.architecture
            );
        }
        ensure!(!variants.is_empty(), "an image for nothing");
        let manifests: Result<Vec<Descriptor>> = variants
            .values()
            .map(|variant| self.manifest(variant, &mut archive))
            .collect();
        // An index even for one architecture: another one is added without a change of what refers to it.
        let index = ImageIndexBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageIndex)
            .manifests(manifests?)
            .annotations(self.labels())
            .build()?;
        let mut index = archive.json(MediaType::ImageIndex, &index)?;
        let digest = index.digest().to_string();
        let tag = self
            .reference
            .rsplit_once(':')
            .map_or("latest", |(_, tag)| tag);
        index.set_annotations(Some(HashMap::from([
            (ANNOTATION_REF_NAME.to_owned(), tag.to_owned()),
            (CONTAINERD_NAME.to_owned(), self.reference.clone()),
        ])));
        let top = ImageIndexBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageIndex)
            .manifests(vec![index])
            .build()?;
        archive.finish(&top)?;
        Ok(digest)
    }

    /// Adds what the image is on one architecture.
    fn manifest(&self, variant: &Variant, archive: &mut Archive<impl Write>) -> Result<Descriptor> {
        let (layer, uncompressed) = self.layer(&variant.files)?;
        let layer = archive.blob(MediaType::ImageLayerGzip, layer)?;
        let config = self.config(&variant.architecture, &uncompressed)?;
        let config = archive.json(MediaType::ImageConfig, &config)?;
        let manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(config)
            .layers(vec![layer])
            .annotations(self.labels())
            .build()?;
        let mut manifest = archive.json(MediaType::ImageManifest, &manifest)?;
        manifest.set_platform(Some(
            PlatformBuilder::default()
                .architecture(variant.architecture.clone())
                .os(Os::Linux)
                .build()?,
        ));
        Ok(manifest)
    }

    fn time(&self) -> Result<u64> {
        u64::try_from(self.created).context("an image that was made before 1970")
    }

    fn labels(&self) -> HashMap<String, String> {
        self.labels.clone().into_iter().collect()
    }

    fn config(&self, architecture: &Arch, uncompressed: &str) -> Result<impl Serialize + use<>> {
        let created =
            jiff::Timestamp::from_second(self.created).context("the time of the image")?;
        Ok(ImageConfigurationBuilder::default()
            .created(created.to_string())
            .architecture(architecture.clone())
            .os(Os::Linux)
            .config(
                ConfigBuilder::default()
                    .entrypoint(self.entrypoint.clone())
                    .env(self.environment.clone())
                    .labels(self.labels())
                    .working_dir("/")
                    .build()?,
            )
            .rootfs(
                RootFsBuilder::default()
                    .typ("layers")
                    .diff_ids(vec![uncompressed.to_owned()])
                    .build()?,
            )
            .build()?)
    }

    /// The layer, compressed, and the digest of it uncompressed.
    fn layer(&self, content: &BTreeMap<String, File>) -> Result<(Vec<u8>, String)> {
        let mut files: BTreeMap<&str, &File> = BTreeMap::new();
        for (path, file) in content {
            ensure!(
                !path.starts_with('/')
                    && !path.split('/').any(|part| part.is_empty() || part == ".."),
                "no path for an image: {path}"
            );
            for (end, _) in path.match_indices('/') {
                files.entry(&path[..end]).or_insert(&File::Directory(0o755));
            }
            files.insert(path, file);
        }
        let mut tar = tar::Builder::new(Vec::new());
        for (path, file) in files {
            append(&mut tar, path, file, self.time()?)?;
        }
        let plain = tar.into_inner()?;
        let digest = sha256(&plain);
        let mut gzip = GzBuilder::new()
            .mtime(0)
            .write(Vec::new(), self.compression);
        gzip.write_all(&plain)?;
        Ok((gzip.finish()?, digest))
    }
}

struct Archive<W: Write> {
    tar: tar::Builder<W>,
    created: u64,
    /// By digest, so that equal content is there once; written sorted.
    blobs: BTreeMap<String, Vec<u8>>,
}

impl<W: Write> Archive<W> {
    fn blob(&mut self, media_type: MediaType, content: Vec<u8>) -> Result<Descriptor> {
        let digest = sha256(&content);
        let descriptor = DescriptorBuilder::default()
            .media_type(media_type)
            .size(content.len() as u64)
            .digest(digest.parse::<Digest>()?)
            .build()?;
        self.blobs.insert(digest, content);
        Ok(descriptor)
    }

    fn json(&mut self, media_type: MediaType, value: &impl Serialize) -> Result<Descriptor> {
        self.blob(media_type, json(value)?)
    }

    fn finish(mut self, index: &impl Serialize) -> Result<()> {
        let layout = OciLayoutBuilder::default()
            .image_layout_version("1.0.0")
            .build()?;
        let plain = |content| File::Plain(0o644, content);
        append(
            &mut self.tar,
            "blobs",
            &File::Directory(0o755),
            self.created,
        )?;
        append(
            &mut self.tar,
            "blobs/sha256",
            &File::Directory(0o755),
            self.created,
        )?;
        for (digest, content) in std::mem::take(&mut self.blobs) {
            let path = format!("blobs/{}", digest.replacen(':', "/", 1));
            append(&mut self.tar, &path, &plain(content), self.created)?;
        }
        append(
            &mut self.tar,
            "index.json",
            &plain(json(index)?),
            self.created,
        )?;
        append(
            &mut self.tar,
            "oci-layout",
            &plain(json(&layout)?),
            self.created,
        )?;
        self.tar.into_inner()?.flush()?;
        Ok(())
    }
}

/// Objects sorted: the annotations' order in memory differs from run to run.
fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut value = serde_json::to_value(value)?;
    value.sort_all_objects();
    Ok(serde_json::to_vec(&value)?)
}

fn sha256(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    path: &str,
    file: &File,
    time: u64,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match file {
        File::Directory(mode) => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(*mode);
            tar.append_data(&mut header, format!("{path}/"), io::empty())
        }
        File::Plain(mode, content) => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mode(*mode);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content.as_slice())
        }
        File::Link(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            tar.append_link(&mut header, path, target)
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use flate2::read::GzDecoder;
    use serde_json::Value;

    use super::*;

    pub fn image() -> Image {
        let labels = ["title", "licenses", "revision", "version", "description"];
        Image {
            reference: "registry.example/thing:1.2".to_owned(),
            created: 1_700_000_000,
            entrypoint: vec!["/usr/bin/thing".to_owned()],
            environment: vec!["PATH=/usr/bin".to_owned()],
            labels: labels
                .map(|name| (name.to_owned(), name.to_uppercase()))
                .into(),
            compression: Compression::best(),
            variants: vec![variant(Arch::Amd64, b"program")],
        }
    }

    pub fn variant(architecture: Arch, program: &[u8]) -> Variant {
        let program = File::Plain(0o755, program.to_vec());
        let files = [
            ("usr/bin/thing".to_owned(), program),
            ("usr/bin/other".to_owned(), File::Link("thing".to_owned())),
        ];
        Variant {
            architecture,
            files: files.into(),
        }
    }

    fn written() -> (Vec<u8>, String) {
        let mut bytes = Vec::new();
        let digest = image().write(&mut bytes).expect("it can be written");
        (bytes, digest)
    }

    fn entries(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().expect("a tar file").map(|entry| {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("it is whole");
            (path, content)
        });
        entries.collect()
    }

    /// Follows a descriptor as the image layout says, and checks it on the way.
    fn follow(
        entries: &BTreeMap<String, Vec<u8>>,
        descriptor: &Value,
        media_type: &str,
    ) -> Vec<u8> {
        assert_eq!(descriptor["mediaType"], media_type);
        let digest = descriptor["digest"].as_str().expect("a digest");
        let content = &entries[&format!("blobs/{}", digest.replacen(':', "/", 1))];
        assert_eq!(descriptor["size"], content.len());
        // Read by another implementation than the writer's.
        let mut child = Command::new("sha256sum")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sha256sum runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(content).expect("it reads");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let sum = String::from_utf8(output.stdout).expect("text");
        assert_eq!(
            format!("sha256:{}", sum.split(' ').next().unwrap_or_default()),
            digest
        );
        content.clone()
    }

    fn parse(content: &[u8]) -> Value {
        serde_json::from_slice(content).expect("JSON")
    }

    #[test]
    fn the_layout_leads_from_the_index_to_the_program() {
        let (bytes, digest) = written();
        let entries = entries(&bytes);
        assert_eq!(
            parse(&entries["oci-layout"]),
            serde_json::json!({"imageLayoutVersion": "1.0.0"})
        );
        let top = parse(&entries["index.json"]);
        let named = &top["manifests"][0];
        assert_eq!(named["digest"], digest.as_str());
        assert_eq!(
            named["annotations"]["io.containerd.image.name"],
            "registry.example/thing:1.2"
        );
        assert_eq!(
            named["annotations"]["org.opencontainers.image.ref.name"],
            "1.2"
        );
        let index = parse(&follow(
            &entries,
            named,
            "application/vnd.oci.image.index.v1+json",
        ));
        let platform = &index["manifests"][0];
        assert_eq!(
            platform["platform"],
            serde_json::json!({"architecture": "amd64", "os": "linux"})
        );
        let manifest = parse(&follow(
            &entries,
            platform,
            "application/vnd.oci.image.manifest.v1+json",
        ));
        let config = &manifest["config"];
        let config = parse(&follow(
            &entries,
            config,
            "application/vnd.oci.image.config.v1+json",
        ));
        assert_eq!(
            config["config"]["Entrypoint"],
            serde_json::json!(["/usr/bin/thing"])
        );
        assert_eq!(config["created"], "2023-11-14T22:13:20Z");
        let layer = &manifest["layers"][0];
        let layer = follow(
            &entries,
            layer,
            "application/vnd.oci.image.layer.v1.tar+gzip",
        );
        let mut tar = Vec::new();
        GzDecoder::new(layer.as_slice())
            .read_to_end(&mut tar)
            .expect("gzip");
        assert_eq!(config["rootfs"]["diff_ids"][0], sha256(&tar));
        let files = self::entries(&tar);
        let paths: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            ["usr/", "usr/bin/", "usr/bin/other", "usr/bin/thing"]
        );
        assert_eq!(files["usr/bin/thing"], b"program");
    }

    #[test]
    fn the_same_image_is_the_same_archive() {
        // Labels are a hash map on their way; its order differs between two maps of one run.
        let (first, _) = written();
        for _ in 0..8 {
            assert!(first == written().0);
        }
    }

    #[test]
    fn an_index_has_a_manifest_for_each_architecture_in_whatever_order_they_were_given() {
        let arm = variant(Arch::ARM64, b"another program");
        let amd = variant(Arch::Amd64, b"program");
        let write = |variants: Vec<Variant>| {
            let mut bytes = Vec::new();
            let image = Image {
                variants,
                ..image()
            };
            image.write(&mut bytes).map(|_| bytes)
        };
        let both = write(vec![amd.clone(), arm.clone()]).expect("it can be written");
        assert!(both == write(vec![arm.clone(), amd.clone()]).expect("it can be written"));
        assert!(
            write(vec![arm.clone(), arm]).is_err(),
            "one of them is which?"
        );
        assert!(write(vec![]).is_err());

        let entries = entries(&both);
        let top = parse(&entries["index.json"]);
        let index = "application/vnd.oci.image.index.v1+json";
        let index = parse(&follow(&entries, &top["manifests"][0], index));
        let manifests = index["manifests"].as_array().expect("a list");
        let mut found = Vec::new();
        for listed in manifests {
            let manifest = "application/vnd.oci.image.manifest.v1+json";
            let manifest = parse(&follow(&entries, listed, manifest));
            let config = "application/vnd.oci.image.config.v1+json";
            let config = parse(&follow(&entries, &manifest["config"], config));
            assert_eq!(config["architecture"], listed["platform"]["architecture"]);
            let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
            let layer = follow(&entries, &manifest["layers"][0], layer);
            let mut tar = Vec::new();
            GzDecoder::new(layer.as_slice())
                .read_to_end(&mut tar)
                .expect("gzip");
            let program = self::entries(&tar).remove("usr/bin/thing");
            found.push((config["architecture"].clone(), program.expect("a program")));
        }
        assert_eq!(
            found,
            [
                ("amd64".into(), b"program".to_vec()),
                ("arm64".into(), b"another program".to_vec())
            ]
        );
    }

    #[test]
    fn a_path_that_leads_out_of_the_image_is_refused() {
        for path in ["/etc/passwd", "../x", "a//b", ""] {
            let mut image = image();
            image.variants[0]
                .files
                .insert(path.to_owned(), File::Directory(0o755));
            assert!(image.write(io::sink()).is_err(), "{path:?}");
        }
    }
}
