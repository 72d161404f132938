//! Commands to a running share, one a line, each with an answer of one line of JSON.
//!
//! `get` returns the counters and `total` only their sums. `reset` sets them to zero. `delay MS` and `limit N`
//! change the pace, and `stop` ends the share. A command without a result is answered with `{}`. The answer to an
//! unknown one has a member `error`.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use crate::counters::Counters;
use crate::pace::Pace;

/// The part of a share that commands change.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    pub(crate) counters: Arc<Counters>,
    pub(crate) pace: Arc<Pace>,
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Command {
    Get,
    Total,
    Reset,
    Delay(Duration),
    Limit(f64),
    Stop,
}

impl Control {
    /// Answers commands until the input ends.
    ///
    /// # Errors
    ///
    /// If reading or writing fails.
    pub(crate) fn serve(&self, input: impl io::Read, mut output: impl Write) -> io::Result<()> {
        for line in BufReader::new(input).lines() {
            writeln!(output, "{}", self.answer(&line?))?;
            output.flush()?;
        }
        Ok(())
    }

    /// Serves all connections to a socket, each in a thread.
    pub(crate) fn listen(&self, listener: &UnixListener) {
        for connection in listener.incoming().flatten() {
            let control = self.clone();
            std::thread::spawn(move || {
                let Ok(output) = connection.try_clone() else { return };
                let _ = control.serve(connection, output);
            });
        }
    }

    fn answer(&self, line: &str) -> String {
        match parse(line) {
            Some(Command::Get) => {
                return serde_json::to_string(&self.counters.counts())
                    .unwrap_or_else(|e| error(&e.to_string()));
            }
            Some(Command::Total) => return self.total(),
            Some(Command::Reset) => self.counters.reset(),
            Some(Command::Delay(delay)) => self.pace.set_delay(delay),
            Some(Command::Limit(limit)) => self.pace.set_limit(limit),
            Some(Command::Stop) => end(),
            None => return error(&format!("unknown command: {line}")),
        }
        "{}".to_owned()
    }

    /// The sums of all counters.
    fn total(&self) -> String {
        let counts = self.counters.counts();
        let [asked, metadata, bytes] = [counts.asked(), counts.metadata(), counts.bytes_read];
        format!(r#"{{"asked":{asked},"metadata":{metadata},"bytes_read":{bytes}}}"#)
    }
}

fn error(text: &str) -> String {
    serde_json::json!({ "error": text }).to_string()
}

/// Asks this process to end as with `SIGTERM`, which the main thread waits for.
pub(crate) fn end() {
    let _ = kill_process(getpid(), Signal::TERM);
}

fn parse(line: &str) -> Option<Command> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |word: &str| word.parse::<f64>().ok().filter(|number| *number >= 0.0);
    match words[..] {
        ["get"] => Some(Command::Get),
        ["total"] => Some(Command::Total),
        ["reset"] => Some(Command::Reset),
        ["stop"] => Some(Command::Stop),
        ["delay", word] => milliseconds(number(word)?).map(Command::Delay),
        ["limit", word] => number(word).map(Command::Limit),
        _ => None,
    }
}

fn milliseconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number / 1000.0).ok()
}

/// Sends a command to the socket of a running share. Returns its answer.
///
/// # Errors
///
/// If nobody listens at the socket, or if the share ends meanwhile.
pub fn ask(socket: &Path, command: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    writeln!(stream, "{command}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Counts, Operation};

    #[test]
    fn commands_are_words_and_numbers() {
        assert_eq!(parse("get"), Some(Command::Get));
        assert_eq!(parse(" delay  2.5 "), Some(Command::Delay(Duration::from_micros(2500))));
        assert_eq!(parse("limit 2000"), Some(Command::Limit(2000.0)));
        for wrong in ["", "Get", "delay", "delay -1", "delay x", "limit nan", "get all"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn each_command_has_an_answer_of_one_line() {
        let control = Control { counters: Arc::default(), pace: Arc::new(Pace::new(Duration::ZERO, 0.0)) };
        control.counters.count(Operation::Open, b"/a");
        let mut output = Vec::new();
        control.serve(&b"get\ntotal\nreset\nget\nfly\n"[..], &mut output).expect("answers");
        let text = String::from_utf8(output).expect("text");
        let [first, total, reset, second, unknown] = text.lines().collect::<Vec<_>>()[..] else {
            panic!("{text}")
        };
        let counts = |line| serde_json::from_str::<Counts>(line).expect("counts");
        assert_eq!((counts(first).of(Operation::Open), counts(second)), (1, Counts::default()));
        assert_eq!(total, r#"{"asked":1,"metadata":1,"bytes_read":0}"#);
        assert_eq!((reset, unknown), ("{}", r#"{"error":"unknown command: fly"}"#));
    }
}
