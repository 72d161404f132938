//! A slow shared file system: `slow-share --delay 5 SOURCE MOUNTPOINT`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use slow_share::{Options, Profile};

/// Shows a directory again through FUSE, slowly, and counts all requests. Runs in the foreground until it gets
/// SIGTERM or is unmounted. SIGUSR1 writes the counters, SIGUSR2 resets them.
#[derive(Debug, Parser)]
#[command(override_usage = "slow-share [OPTIONS] SOURCE MOUNTPOINT\n       slow-share --ask SOCKET COMMAND…")]
struct Arguments {
    /// Wait before each request, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0.0)]
    delay: f64,
    /// The client to model: how long the kernel keeps names and attributes.
    #[arg(long, value_enum, default_value_t = Client::Lustre)]
    profile: Client,
    /// Requests a second over all callers, at most (0: without limit).
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    limit: f64,
    /// Refuse writing.
    #[arg(long)]
    read_only: bool,
    /// Have the kernel check access control lists.
    #[arg(long)]
    acl: bool,
    /// Check no permissions: for root only.
    #[arg(long)]
    unchecked: bool,
    /// Requests that are served at once.
    #[arg(long, value_name = "N", default_value_t = 64)]
    threads: usize,
    /// The file for the counters.
    #[arg(long, value_name = "FILE")]
    counters: Option<PathBuf>,
    /// The socket for commands: get, total, reset, delay MS, limit N, stop.
    #[arg(long, value_name = "SOCKET")]
    control: Option<PathBuf>,
    /// Send a command to a running share and print its answer.
    #[arg(long, value_name = "SOCKET", conflicts_with_all = ["control", "counters"])]
    ask: Option<PathBuf>,
    /// The directory to show and the place to show it, or the command.
    #[arg(required = true, value_name = "ARGUMENT")]
    words: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Client {
    /// Nothing is kept.
    Lustre,
    /// Names and attributes are kept for 3 s.
    Nfs,
}

fn main() -> ExitCode {
    if let Some(code) = slow_share::serve_if_asked() {
        return code;
    }
    let Err(error) = run(&Arguments::parse()) else { return ExitCode::SUCCESS };
    let _ = write!(std::io::stderr(), "slow-share: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(std::io::stderr(), ": {error}");
        cause = error.source();
    }
    let _ = writeln!(std::io::stderr());
    ExitCode::FAILURE
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    if let Some(socket) = &arguments.ask {
        let answer = slow_share::ask(socket, &arguments.words.join(" "))?;
        writeln!(std::io::stdout(), "{answer}")?;
        return Ok(());
    }
    let [source, mountpoint] = &arguments.words[..] else {
        return Err("a source and a mount point are needed".into());
    };
    let options = Options {
        delay: Duration::try_from_secs_f64(arguments.delay / 1000.0)?,
        limit: arguments.limit,
        profile: match arguments.profile {
            Client::Lustre => Profile::Lustre,
            Client::Nfs => Profile::Nfs,
        },
        read_only: arguments.read_only,
        acl: arguments.acl,
        unchecked: arguments.unchecked,
        threads: arguments.threads,
        counters: arguments.counters.clone(),
        control: arguments.control.clone(),
        ..Options::new(source, mountpoint)
    };
    Ok(slow_share::serve(&options)?)
}
