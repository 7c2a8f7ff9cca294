//! Tests that need no root: the program as a user runs it, its streams, its watches and its manifests.

mod cli_check;
mod cli_diagnose;
mod cli_help;
mod client_feature;
mod cluster_watch;
mod deploy;
mod documents;
mod replay_file;
mod scenarios;
mod skew;
mod streaming;
mod tshark_diff;
