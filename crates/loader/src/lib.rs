//! Predicts from files how the dynamic loader handles a program on a machine, and why it fails.
//!
//! Nothing is executed. A program is checked against a root file system like this:
//!
//! ```
//! use compat_loader::check::{Host, Options, Verdict, check_application};
//! use compat_loader::generate;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let program = tempfile::NamedTempFile::new()?;
//! std::fs::write(program.path(), "#!/opt/app/bin/python3\nprint('hello')\n")?;
//! # std::fs::set_permissions(program.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
//! let root = tempfile::tempdir()?;
//!
//! let host = Host::at(root.path(), &Options::default())?;
//! let application = generate::read(&generate::Options {
//!     paths: vec![program.path().to_owned()],
//!     ..generate::Options::default()
//! })?
//! .application;
//! let report = check_application(&application, &host);
//!
//! assert_eq!(report.verdict, Verdict::Incompatible);
//! assert_eq!(report.findings.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! [`generate::generate`] writes the needs of a program as a document, and [`check::check`] checks a host
//! against it with the same result. These are the modules, the lowest first. Lower modules never import higher
//! ones:
//!
//! - [`elf`]: bytes of one object -> its facts
//! - [`script`]: bytes of a script -> the programs that it starts
//! - [`spec`]: the specification document
//! - [`host`]: a root file system as the loader sees it
//! - [`loader`]: a model of `ld.so`
//! - [`generate`]: objects -> specification
//! - [`check`]: specification x host -> report

#![warn(missing_docs, unreachable_pub)]

// Other crates share the objects for tests, which use this name for the crate.
#[cfg(test)]
extern crate self as compat_loader;

/// Implements `Serialize` and `JsonSchema` for a type that documents contain as its displayed text.
macro_rules! written_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                String::schema_name()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                String::json_schema(generator)
            }
        }
    };
}

pub mod check;
pub mod elf;
pub mod generate;
pub mod host;
pub mod loader;
pub mod script;
pub mod spec;
