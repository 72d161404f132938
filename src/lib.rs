//! `compat` reports whether an application or a container image will run on a machine, and why not. A few
//! kilobytes from a registry are enough, so nothing large is pulled.
//!
//! This package contains the command line ([`cli`]) and the subcommands behind it ([`app`]). The crates below it
//! do the work (see `docs/architecture.md`): [`compat_loader`] decides, [`compat_oci`] and [`compat_image`] read
//! registries and images, [`compat_mirror`] runs commands and records them, [`compat_trace`] reads recordings.
//!
//! A service uses [`app`] in the same way as the command line:
//!
//! ```
//! use std::sync::Arc;
//!
//! use compat::app::check::{Asked, CheckOptions, check};
//! use compat::app::{Failure, Observer, Session, SessionOptions, Target, TargetOptions};
//! use compat_image::ImageOptions;
//! use compat_loader::check::{Host, Options, Verdict};
//! use compat_oci::{FindOptions, Platform};
//!
//! #[derive(Debug)]
//! struct Quiet;
//!
//! impl compat_oci::Observer for Quiet {}
//! impl Observer for Quiet {
//!     fn warn(&self, _text: &str) {}
//!     fn failed(&self, _failure: &Failure) {}
//!     fn finish(&self) {}
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let program = directory.path().join("app");
//! # std::fs::write(&program, "#!/opt/app/bin/python3\nprint('hello')\n")?;
//! # std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
//! # let text = program.display().to_string();
//! # let root = directory.path();
//! // `text` is a path, an image or the reference of an artifact, as a user typed it.
//! let asked = [Asked { target: Target::parse(&text, &TargetOptions::default()), text }];
//! let host = Host::at(root, &Options::default())?;
//! let session = Session::new(SessionOptions::default(), Arc::new(Quiet));
//! let find = FindOptions { platform: Platform::host(), platform_named: false, offline: false };
//! let image = ImageOptions::default();
//! let options = CheckOptions { find, generate: false, image, root: None, report_failure: true };
//!
//! let report = check(&asked, &host, &options, &session).map_err(|failure| failure.message)?;
//! assert_eq!(report.map(|report| report.verdict), Some(Verdict::Incompatible));
//! # Ok(())
//! # }
//! ```

#![warn(unreachable_pub)]

#[warn(missing_docs)]
pub mod app;
pub mod cli;
