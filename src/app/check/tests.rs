use super::*;
use crate::app::{Observer, SessionOptions, TargetOptions};
use compat_loader::check::Options;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

/// Collects the messages before the report, in order.
#[derive(Debug, Default)]
struct Said(Mutex<Vec<String>>);

impl compat_oci::Observer for Said {}

impl Observer for Said {
    fn warn(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }

    fn failed(&self, failure: &Failure) {
        self.0.lock().unwrap().push(failure.message.clone());
    }

    fn finish(&self) {}
}

/// Returns the report on some targets, and the messages before it.
fn checked(texts: &[String], root: &Path) -> (Report, Vec<String>) {
    let host = Host::at(root, &Options::default()).unwrap();
    let options = CheckOptions {
        find: FindOptions { platform: compat_oci::Platform::host(), platform_named: false, offline: true },
        generate: false,
        image: ImageOptions::default(),
        root: None,
        report_failure: false,
    };
    let said = Arc::new(Said::default());
    let session = Session::new(SessionOptions::default(), said.clone());
    let asked =
        |text: &String| Asked { text: text.clone(), target: Target::parse(text, &TargetOptions::default()) };
    let asked: Vec<Asked> = texts.iter().map(asked).collect();
    let report = check(&asked, &host, &options, &session).unwrap().unwrap();
    let said = said.0.lock().unwrap().clone();
    (report, said)
}

#[test]
fn many_targets_are_reported_in_their_order() {
    let place = tempfile::tempdir().unwrap();
    let (root, files) = (place.path().join("root"), place.path().join("files"));
    fs::create_dir_all(&root).unwrap();
    fs::create_dir_all(&files).unwrap();
    let mut texts = Vec::new();
    let (mut subjects, mut said) = (Vec::new(), Vec::new());
    for number in 0..40 {
        let path = |name: &str| files.join(format!("{name}{number}")).to_string_lossy().into_owned();
        let (script, document) = (path("script"), path("document"));
        fs::write(&script, format!("#!/interpreter{number}\n")).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&document, "{").unwrap();
        subjects.push(format!("script{number}"));
        said.push(document.clone());
        texts.extend([script, document]);
    }
    let (report, heard) = checked(&texts, &root);
    let names = report.subjects.iter().map(|subject| subject.path.rsplit('/').next().unwrap_or_default());
    assert_eq!(names.filter(|name| name.starts_with("script")).collect::<Vec<_>>(), subjects);
    assert_eq!(heard.len(), said.len());
    for (heard, document) in heard.iter().zip(&said) {
        assert!(heard.starts_with(&format!("{document}: ")), "{heard}");
    }
}

#[test]
fn what_is_no_specification_is_named() {
    let refused = |text: &str| {
        let failure =
            not_a_specification("file", text.as_bytes(), &spec::parse(text.as_bytes()).unwrap_err());
        format!("{}\n{}", failure.message, failure.hint.unwrap_or_default())
    };
    insta::assert_snapshot!(refused("root:x:0:0\n"), @r"
    file is not a program, library, script or specification
    name the program, or derive its specification with `compat gen PATH -o compat.json`
    ");
    insta::assert_snapshot!(refused("{\"version\":"), @r"
    file: not a compatibility specification: EOF while parsing a value at line 1 column 11
    run `compat validate file` to see the position of each error
    ");
    insta::assert_snapshot!(refused("{}"), @r"
    file: not a compatibility specification: its version is null, not MAJOR.MINOR.PATCH
    derive a specification with `compat gen PATH -o compat.json`
    ");
    let recording =
        r#"{"compat_recording":1,"command":["a"],"folder":"/","host":"h","kernel":"6","started":1}"#;
    insta::assert_snapshot!(refused(recording), @r"
    file is a recording, not a specification
    derive a specification with `compat gen --from-recording file -o compat.json`, or read the recording with `compat trace summary file`
    ");
}
