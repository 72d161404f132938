//! The options that `gen --image`, `attach --generate` and `check --generate` share.

use crate::app::Failure;
use crate::app::derive::refuse_options;
use compat_image::{HostLibraries, ImageOptions};

/// The parts of an image that are read.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Image options")]
pub(super) struct DeriveOptions {
    /// Read every ELF object of the image, instead of only the programs that its command starts
    #[arg(long)]
    pub all: bool,

    /// Read this program of the image instead of its command (can be repeated)
    #[arg(long, value_name = "PATH")]
    pub executable: Vec<String>,

    /// Expect libraries of this name from the host if the image lacks them (can be repeated)
    ///
    /// "*" matches any text.
    #[arg(long, value_name = "NAME=PROVIDER", value_parser = parse_host_library)]
    pub host_library: Vec<(String, String)>,
}

impl DeriveOptions {
    /// Rejects options that have no effect because no image is read.
    ///
    /// # Errors
    ///
    /// If such an option is given. The error is wrong usage and names the missing option.
    pub(super) fn expect_none(&self, lacking: &str) -> Result<(), Failure> {
        refuse_options(&options(self, [], false), lacking)
    }
}

fn parse_host_library(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((pattern, provider)) if !pattern.is_empty() && !provider.is_empty() => {
            Ok((pattern.to_owned(), provider.to_owned()))
        }
        _ => Err("expected NAME=PROVIDER, such as libmpi.so.*=site MPI".to_owned()),
    }
}

/// Returns the options of a derivation.
pub(super) fn options(
    derive: &DeriveOptions,
    attributes: impl IntoIterator<Item = (String, String)>,
    names_only: bool,
) -> ImageOptions {
    ImageOptions {
        all: derive.all,
        executables: derive.executable.clone(),
        attributes: attributes.into_iter().collect(),
        names_only,
        host_libraries: HostLibraries { own: derive.host_library.clone() },
        runs: None,
    }
}
