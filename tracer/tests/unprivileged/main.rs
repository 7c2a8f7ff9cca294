//! Tests that need no root: the program as users run it, its streams, its watches, its manifests and its
//! documents.

mod cli_check;
mod cli_diagnose;
mod cli_dns;
mod cli_explain;
mod cli_help;
mod client_feature;
mod cluster_watch;
mod crates;
mod deploy;
mod documents;
mod relay_api;
mod replay_file;
mod replay_two_nodes;
mod scenarios;
mod skew;
mod streaming;
mod tshark_diff;
