//! Credential helpers: `docker-credential-NAME get` reads the name of the server from standard input and
//! prints `{"ServerURL", "Username", "Secret"}` (docker-credential-helpers). Time and output are bounded. The
//! standard error of a helper is not shown, because it may contain secrets.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::secret::Credential;
use crate::error::{Error, Result};

/// The maximum run time of a helper.
const DEADLINE: Duration = Duration::from_secs(30);
/// The maximum output of a helper.
const OUTPUT: u64 = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks a helper for the credential of a host. Returns `None` if it has none.
pub(super) fn ask(name: &str, host: &str) -> Result<Option<Credential>> {
    let program = format!("docker-credential-{name}");
    let fault = |reason: String| Error::Helper { helper: program.clone(), reason };
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        return Err(fault("its name is not a valid program name".into()));
    }
    let server = if host == "docker.io" { "https://index.docker.io/v1/" } else { host };
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| fault(format!("could not be started: {error}")))?;
    // A helper need not read its input. Its output decides.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(server.as_bytes()));
    let (output, success) = wait(&mut child).map_err(fault)?;
    if !success {
        let text = String::from_utf8_lossy(&output);
        return if text.contains("credentials not found") || text.contains("no credentials server URL") {
            Ok(None)
        } else {
            Err(fault(failure_words(&text)))
        };
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&output).map_err(|_| fault("its output is not the expected JSON".into()))?;
    Ok(match (answer.username.as_str(), answer.secret) {
        (_, secret) if secret.is_empty() => None,
        ("<token>", secret) => Some(Credential::Identity(secret)),
        (username, password) => Some(Credential::Password { username: username.into(), password }),
    })
}

/// Returns the reason that a failed helper states: helpers print it to standard output
/// (docker-credential-helpers, `credentials/error.go`). Only the first line is used, without control
/// characters.
fn failure_words(output: &str) -> String {
    const MOST: usize = 200;
    let line = output.lines().map(str::trim).find(|line| !line.is_empty());
    match line {
        // Output with a secret is not a reason.
        Some(line) if !line.contains(['{', '}']) => {
            let words: String = line.chars().filter(|c| !c.is_control()).take(MOST).collect();
            format!("failed: {words}")
        }
        _ => "failed".to_owned(),
    }
}

/// Collects the output and the exit status, within the deadline.
fn wait(child: &mut Child) -> std::result::Result<(Vec<u8>, bool), String> {
    let Some(stdout) = child.stdout.take() else { return Err("has no output".into()) };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut output = Vec::new();
        let read = stdout.take(OUTPUT + 1).read_to_end(&mut output);
        let _ = sender.send(read.map(|_| output));
    });
    let start = Instant::now();
    let outcome = match receiver.recv_timeout(DEADLINE) {
        Ok(Ok(output)) if output.len() as u64 > OUTPUT => Err("printed more than 64 KiB".to_owned()),
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => Err(format!("its output could not be read: {error}")),
        Err(_) => Err(format!("printed nothing within {} s", DEADLINE.as_secs())),
    };
    let outcome = outcome.and_then(|output| Ok((output, exit(child, start)?)));
    if outcome.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    outcome
}

fn exit(child: &mut Child, start: Instant) -> std::result::Result<bool, String> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) if start.elapsed() > DEADLINE => return Err("did not exit".into()),
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_that_is_not_there_is_named() {
        let shown = |name: &str| ask(name, "h").unwrap_err().to_string();
        insta::assert_snapshot!(shown("compat-none"), @"credential helper docker-credential-compat-none: could not be started: No such file or directory (os error 2)");
        insta::assert_snapshot!(shown("../x"), @"credential helper docker-credential-../x: its name is not a valid program name");
    }
}
