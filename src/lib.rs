//! `compat` tells whether an application or a container image will run on a machine, and why not,
//! from a few kilobytes in a registry and before anything large is pulled.
//!
//! This package is the command line ([`cli`]) and what it does ([`app`]). The work is done by the crates below it (see
//! `docs/architecture.md`): [`compat_loader`] decides, [`compat_oci`] and [`compat_image`] read registries
//! and images, [`compat_mirror`] runs commands and records them, [`compat_trace`] reads recordings.

#![warn(unreachable_pub)]

#[warn(missing_docs)]
pub mod app;
pub mod cli;
