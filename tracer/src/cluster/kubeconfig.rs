//! Reads kubeconfigs, which are as powerful as the program that reads them: they name programs to start and
//! files whose content is sent to a server.
//!
//! A user with exec into the agent's container could have the agent's token sent anywhere by a kubeconfig on
//! standard input. So the image's build (without the feature `kubeconfig`) reads none, and every build
//! refuses a kubeconfig from a pipe or descriptor that names a program or a token file. Errors have the
//! file's name and a position, never a part of its content.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use kube::client::AuthError;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig, KubeconfigError};
use tracer_core::model::error_chain::error_chain;

/// Symbolic links that are followed to find out what a path is; the kernel's limit.
const MAX_LINKS: usize = 40;

/// A kubeconfig cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigProblem {
    /// This build reads none.
    #[error(
        "this build of tracer, which is that of the agent's image, reads no kubeconfig: in the agent's pod it only uses the \
         pod's service account. Use the program on your own machine"
    )]
    Disabled,
    /// No file is named and there is no home directory.
    #[error("there is no home directory to find .kube/config in; use --kubeconfig FILE")]
    NoHome,
    /// The file cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not a kubeconfig.
    #[error("{}{}: {kind}", file.display(), position(*.at))]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Line and column.
        at: Option<(u64, u64)>,
        /// The kind of error, without a part of the content.
        kind: &'static str,
    },
    /// It comes from a pipe or descriptor and could misuse this process.
    #[error(
        "{} comes from a pipe or descriptor and names {what} for user {user}: tracer uses that only from a kubeconfig that is a \
         file",
        file.display()
    )]
    Refused {
        /// The file.
        file: PathBuf,
        /// The user in the kubeconfig.
        user: String,
        /// What is refused.
        what: &'static str,
    },
    /// Its contexts, clusters or users do not fit together.
    #[error(transparent)]
    Invalid(Box<KubeconfigError>),
}

fn position(at: Option<(u64, u64)>) -> String {
    at.map(|(line, column)| format!(", line {line}, column {column}"))
        .unwrap_or_default()
}

/// The configuration of a context in this file, or in those that kubectl would use.
pub async fn config(
    file: Option<&Path>,
    context: Option<&str>,
) -> Result<kube::Config, KubeconfigProblem> {
    let kubeconfig = read(file, cfg!(feature = "kubeconfig"))?;
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| KubeconfigProblem::Invalid(Box::new(error)))
}

fn read(file: Option<&Path>, allowed: bool) -> Result<Kubeconfig, KubeconfigProblem> {
    if !allowed {
        return Err(KubeconfigProblem::Disabled);
    }
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let listed: Vec<PathBuf> = std::env::split_paths(&listed)
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    let files = match file {
        Some(file) => vec![file.to_owned()],
        None if !listed.is_empty() => listed,
        None => {
            let home = std::env::home_dir().ok_or(KubeconfigProblem::NoHome)?;
            vec![home.join(".kube/config")]
        }
    };
    let mut merged = Kubeconfig::default();
    for file in files {
        let next = read_one(&file)?;
        merged = merged
            .merge(next)
            .map_err(|error| KubeconfigProblem::Invalid(Box::new(error)))?;
    }
    Ok(merged)
}

fn read_one(file: &Path) -> Result<Kubeconfig, KubeconfigProblem> {
    // Before reading, which may use a pipe up.
    let is_stream = is_stream(file);
    let kubeconfig = Kubeconfig::read_from(file).map_err(|error| match error {
        KubeconfigError::ReadConfig(source, file) => KubeconfigProblem::Read { file, source },
        KubeconfigError::Parse(error) => KubeconfigProblem::Syntax {
            file: file.to_owned(),
            at: error.location().map(|at| (at.line(), at.column())),
            kind: kind(&error),
        },
        error => KubeconfigProblem::Invalid(Box::new(error)),
    })?;
    if is_stream {
        for user in &kubeconfig.auth_infos {
            if let Some(what) = user.auth_info.as_ref().and_then(dangerous) {
                return Err(KubeconfigProblem::Refused {
                    file: file.to_owned(),
                    user: user.name.clone(),
                    what,
                });
            }
        }
    }
    Ok(kubeconfig)
}

/// What makes this process start a program, or send the content of a file.
fn dangerous(user: &AuthInfo) -> Option<&'static str> {
    if user.exec.is_some() {
        Some("a program (exec)")
    } else if user.auth_provider.is_some() {
        Some("a program (auth-provider)")
    } else if user.token_file.is_some() {
        Some("a token file (tokenFile)")
    } else {
        None
    }
}

/// Whether a path leads to a descriptor of a process, or to something else that is not a regular file.
fn is_stream(path: &Path) -> bool {
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return true;
    }
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // A descriptor that has been redirected from a file: /proc/PID/fd/0.
        let parent = fs::canonicalize(parent).unwrap_or_else(|_| parent.to_owned());
        if parent.starts_with("/proc") && parent.file_name() == Some(OsStr::new("fd")) {
            return true;
        }
        match fs::read_link(&path) {
            Ok(target) => path = parent.join(target),
            Err(_) => return false,
        }
    }
    true
}

fn kind(error: &serde_saphyr::Error) -> &'static str {
    use serde_saphyr::Error;
    match error.without_snippet() {
        Error::Eof { .. } => "it ends too early",
        Error::SerdeInvalidType { .. }
        | Error::SerdeInvalidValue { .. }
        | Error::SerdeInvalidLength { .. }
        | Error::Unexpected { .. }
        | Error::InvalidScalar { .. } => "a value of the wrong type",
        Error::SerdeMissingField { .. } => "a field is missing",
        Error::SerdeUnknownField { .. } | Error::SerdeUnknownVariant { .. } => "an unknown field",
        Error::DuplicateMappingKey { .. } => "a field appears twice",
        _ => "not valid YAML",
    }
}

/// An error of a request, or of the credentials for it, without what a credential plugin printed.
pub fn explain(error: &kube::Error) -> String {
    match error {
        kube::Error::Auth(AuthError::AuthExecParse(cause)) => format!(
            "the kubeconfig's credential plugin printed no ExecCredential: {}{}",
            kind(cause),
            position(cause.location().map(|at| (at.line(), at.column())))
        ),
        kube::Error::Auth(AuthError::AuthExecRun { cmd, out }) => {
            format!(
                "the kubeconfig's credential plugin {cmd} failed: {}",
                out.status
            )
        }
        error => error_chain(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InNlY3JldC1rZXkifQ.hush";

    fn write(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config");
        fs::write(&path, text).expect("written");
        (directory, path)
    }

    fn all(error: &KubeconfigProblem) -> String {
        error_chain(error)
    }

    #[test]
    fn errors_have_a_position_and_quote_nothing_of_the_file() {
        for (text, expected) in [
            // A token instead of a kubeconfig.
            (SECRET.to_owned(), "line 1"),
            (format!("token: {SECRET}\nusers: [{{name: a\n"), "config"),
            (
                format!("users:\n- name: u\n  user: {{token: [{SECRET}]}}\n"),
                "line 3",
            ),
            (format!("users: {SECRET}\n"), "line 1"),
            (
                format!("users:\n- {{name: u, user: {{token: \"{SECRET}}}}}\n"),
                "config",
            ),
            (format!("\"{SECRET}\": 1\n\"{SECRET}\": 1\n"), "line 2"),
            (
                format!("clusters: [{{name: {SECRET}, cluster: {SECRET}}}]\n"),
                "line 1",
            ),
            (format!("a: &{SECRET} 1\nb: *{SECRET}x\n"), "config"),
        ] {
            let (_directory, path) = write(&text);
            let said = match read(Some(&path), true) {
                Err(error) => format!("{} {error:?}", all(&error)),
                Ok(_) => panic!("accepted: {text}"),
            };
            assert!(said.contains(expected), "{text}: {said}");
            for part in [SECRET, &SECRET[..8], "hush"] {
                assert!(!said.contains(part), "{text}: {said}");
            }
        }
    }

    #[test]
    fn a_build_for_the_image_reads_no_kubeconfig() {
        let (_directory, path) = write("{apiVersion: v1, kind: Config}");
        assert!(read(Some(&path), true).is_ok());
        for file in [Some(path.as_path()), None, Some(Path::new("/no/such/file"))] {
            let error = read(file, false).expect_err("refused");
            assert!(matches!(error, KubeconfigProblem::Disabled), "{error}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn from_a_descriptor_neither_a_program_nor_a_token_file_is_accepted() {
        use std::os::fd::AsRawFd as _;
        for (user, is_refused) in [
            (
                "exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/true}",
                true,
            ),
            (
                "tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token",
                true,
            ),
            (
                "auth-provider: {name: gcp, config: {cmd-path: /bin/true}}",
                true,
            ),
            ("token: t", false),
        ] {
            let (directory, path) = write(&format!("users: [{{name: u, user: {{{user}}}}}]"));
            assert!(read(Some(&path), true).is_ok(), "a file: {user}");
            let file = fs::File::open(&path).expect("opened");
            let fd = file.as_raw_fd();
            let link = directory.path().join("link");
            std::os::unix::fs::symlink(format!("/dev/fd/{fd}"), &link).expect("linked");
            for path in [
                PathBuf::from(format!("/dev/fd/{fd}")),
                PathBuf::from(format!("/proc/self/fd/{fd}")),
                PathBuf::from(format!("/proc/{}/fd/{fd}", std::process::id())),
                link,
            ] {
                let read = read(Some(&path), true);
                let refused = matches!(read, Err(KubeconfigProblem::Refused { .. }));
                assert_eq!(refused, is_refused, "{}: {user}: {read:?}", path.display());
            }
        }
    }

    #[test]
    fn the_output_of_a_credential_plugin_is_not_quoted() {
        let parse = serde_saphyr::from_str::<Vec<u8>>(SECRET).expect_err("no list");
        let error = kube::Error::Auth(AuthError::AuthExecParse(Box::new(parse)));
        let said = explain(&error);
        assert!(
            !said.contains(&SECRET[..8]) && said.contains("line 1"),
            "{said}"
        );
    }
}
