//! Tests of the application layer without a command line, as a service would use it.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::copy::CopyOptions;
use super::pull::PullOptions;
use super::push::PushOptions;
use super::{Failure, Observer, Session, SessionOptions, copy, delete, inspect, pull, push};
use compat_oci::{FindOptions, Location, Platform};

const SPECIFICATION: &str = r#"{"version":"1.0.0","attributes":{"org.example.a":"1"}}"#;

/// An observer that records the warnings.
#[derive(Debug, Default)]
struct Listener(Mutex<Vec<String>>);

impl compat_oci::Observer for Listener {}

impl Observer for Listener {
    fn warn(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }

    fn failed(&self, _failure: &Failure) {}

    fn finish(&self) {}
}

fn location(directory: &Path, name: &str) -> Location {
    Location::parse(&format!("oci:{}:{name}", directory.join("layout").display())).unwrap()
}

#[test]
fn a_specification_is_pushed_copied_pulled_and_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("compat.json");
    std::fs::write(&file, SPECIFICATION).unwrap();
    let listener = Arc::new(Listener::default());
    let session = Session::new(SessionOptions::default(), listener.clone());
    let (first, second) = (location(directory.path(), "a"), location(directory.path(), "b"));

    let options = PushOptions { file, ..PushOptions::default() };
    let pushed = push::push(&first, &options, &session).unwrap();
    assert!(pushed.sent && !push::push(&first, &options, &session).unwrap().sent);
    let copied = copy::copy(&first, &second, CopyOptions::default(), &session).unwrap();
    assert_eq!(copied.digest, pushed.digest.to_string());
    assert_eq!(inspect::inspect(&second, &session).unwrap().kind, "compatibility");

    let find = FindOptions { platform: Platform::host(), platform_named: false, offline: false };
    let recordings = Some(directory.path().join("runs"));
    let options = PullOptions { find, output: None, recordings };
    let pulled = pull::pull(&second, &options, &session).unwrap();
    assert_eq!((&pulled.bytes[..], &*pulled.file), (SPECIFICATION.as_bytes(), "-"));
    assert_eq!(*listener.0.lock().unwrap(), ["the artifact contains no recordings"]);
    let json = serde_json::to_value(&pulled).unwrap();
    assert!(json.get("bytes").is_none() && json.get("origin").is_none());

    assert_eq!(delete::delete(&second, &session).unwrap().digest, pushed.digest);
    assert!(pull::pull(&second, &options, &session).is_err());
}
