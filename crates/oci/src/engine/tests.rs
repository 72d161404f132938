//! A test engine behind a socket.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;

use super::*;

/// Answers one request after another with these bytes. Returns the requests.
fn serve(directory: &Path, answers: Vec<String>) -> (PathBuf, std::thread::JoinHandle<Vec<String>>) {
    let path = directory.join("engine.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let answer = |answer: String| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut piece = [0; 1024];
            while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                let read = stream.read(&mut piece).unwrap();
                request.extend_from_slice(&piece[..read]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            let request = String::from_utf8_lossy(&request).into_owned();
            request.lines().next().unwrap_or_default().to_owned()
        };
        answers.into_iter().map(answer).collect()
    });
    (path, server)
}

fn engine(path: &Path, name: &str) -> Engine {
    let builder = add_to_plain(reqwest::Client::builder().no_proxy()).unix_socket(path);
    let (kind, base) = (EngineKind::Docker, "http://localhost".to_owned());
    Engine {
        kind,
        name: name.to_owned(),
        base,
        place: "engine.sock".to_owned(),
        client: builder.build().unwrap(),
    }
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn block_on<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(task)
}

#[test]
fn an_image_is_asked_for_by_its_name_and_taken_by_its_id() {
    let directory = tempfile::tempdir().unwrap();
    let answers = vec![
        answer("200 OK", r#"{"Id": "sha256:12", "Size": 7, "Os": "linux"}"#),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".to_owned(),
    ];
    let (path, server) = serve(directory.path(), answers);
    let engine = engine(&path, "ghcr.io/org/app:1");
    let bytes = block_on(async {
        let image = engine.image().await.unwrap();
        assert_eq!((image.id.as_str(), image.size), ("sha256:12", 7));
        let pieces: Vec<_> = engine.save(&image).await.unwrap().map(Result::unwrap).collect().await;
        pieces.concat()
    });
    assert_eq!(bytes, b"abcde");
    assert_eq!(
        server.join().unwrap(),
        ["GET /images/ghcr.io/org/app:1/json HTTP/1.1", "GET /images/sha256:12/get HTTP/1.1"]
    );
}

#[test]
fn what_an_engine_refuses_or_breaks_off_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2\r\n";
    let answers = vec![
        answer("404 Not Found", r#"{"message": "No such image: app:1"}"#),
        answer("500 Internal Server Error", r#"{"message": "reference does not exist"}"#),
        answer("500 Internal Server Error", "full\u{1b}[2K"),
        answer("200 OK", "<html>"),
        answer("200 OK", r#"{"Id": "../../containers"}"#),
        cut.to_owned(),
    ];
    let (path, server) = serve(directory.path(), answers);
    let engine = engine(&path, "app:1");
    let asked = || block_on(engine.image()).unwrap_err().to_string();
    let unknown = "docker has no image app:1";
    assert_eq!([asked(), asked()], [unknown, unknown]);
    insta::assert_snapshot!(asked(), @r"could not read docker-daemon:app:1: engine.sock answered 500: full\u{1b}[2K");
    insta::assert_snapshot!(asked(), @"the response of engine.sock is malformed: expected value at line 1 column 1");
    insta::assert_snapshot!(asked(), @r#"invalid reference "docker-daemon:../../containers": it is not the name of an image"#);
    let broken = block_on(async {
        let image = EngineImage { id: "sha256:12".to_owned(), size: 0 };
        let pieces: Vec<_> = engine.save(&image).await.unwrap().collect().await;
        pieces.into_iter().find_map(Result::err).map(|error| error.to_string())
    });
    assert!(broken.is_some_and(|broken| broken.starts_with("could not read docker-daemon:app:1 from engine.sock: ")));
    assert_eq!(server.join().unwrap().len(), 6);
}

#[test]
fn what_is_no_name_never_becomes_a_path() {
    for name in ["", "../x", "a//b", "a/../b", "a?b", "a b", "a%2fb", "a#b", "[overlay@/x]app"] {
        assert!(check_name(EngineKind::Podman, name).is_err(), "{name}");
    }
    for name in ["app", "app:1", "ghcr.io/org/app@sha256:12", "localhost:5000/app:1", "3f5e", "sha256:3f5e"] {
        assert!(check_name(EngineKind::Docker, name).is_ok(), "{name}");
    }
}
