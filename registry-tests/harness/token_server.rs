//! An authorization service for docker-registry. Its bearer tokens are signed JWTs (RS256). A certificate in
//! their `x5c` header certifies the key.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::Workspace;
use super::case::tool;
use super::http::{Recorded, Reply, Request, Response, Server};
use super::memory_registry::encode_base64;
use super::tls::openssl;

/// The service. It stops when it is dropped.
pub struct TokenServer {
    server: Server,
    certificate: PathBuf,
}

impl TokenServer {
    /// Starts the service. The user with the password gets tokens for everything, everybody else for pulling.
    pub fn start(workspace: &Workspace, user: &str, password: &str) -> Self {
        openssl(
            workspace,
            "req -x509 -newkey rsa:2048 -nodes -days 2 -keyout token.key -out token.pem -subj /CN=tests",
        );
        let (key, certificate) = (workspace.path("token.key"), workspace.path("token.pem"));
        let pem = String::from_utf8(workspace.read("token.pem")).expect("a certificate is text");
        let x5c: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let owner = format!("Basic {}", encode_base64(&format!("{user}:{password}")));
        let server = Server::start(move |request| Reply::Whole(answer(request, &key, &x5c, &owner)));
        Self { server, certificate }
    }

    /// Returns the address of the token service.
    pub fn realm(&self) -> String {
        format!("{}/token", self.server.url())
    }

    /// Returns the certificate that docker-registry trusts.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.server.requests()
    }
}

fn answer(request: &Request, key: &Path, x5c: &str, owner: &str) -> Response {
    let authorization = request.value("authorization");
    if authorization.is_some_and(|given| given != owner) {
        return Response::new(401).body("application/json", r#"{"errors": [{"code": "UNAUTHORIZED"}]}"#);
    }
    let scope = request.query("scope").unwrap_or_default();
    let access: Vec<Value> = scope
        .split(['+', ' '])
        .flat_map(|part| part.split("%20"))
        .filter_map(|part| grant(part, authorization.is_some()))
        .collect();
    let token = token(key, x5c, &access);
    Response::new(200).body("application/json", json!({"token": token, "expires_in": 300}).to_string())
}

/// Grants a scope `repository:NAME:pull,push`: everything for the owner, pulling for others.
fn grant(scope: &str, owner: bool) -> Option<Value> {
    let (rest, actions) = scope.rsplit_once(':')?;
    let (kind, name) = rest.split_once(':')?;
    let actions = actions.replace("%2C", ",");
    let granted: Vec<&str> = actions.split(',').filter(|action| owner || *action == "pull").collect();
    Some(json!({"type": kind, "name": name, "actions": granted}))
}

fn token(key: &Path, x5c: &str, access: &[Value]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("now is after 1970").as_secs();
    let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [x5c]});
    let claims = json!({
        "iss": "tests", "aud": "tests", "sub": "tests", "jti": format!("{now}"),
        "iat": now - 10, "nbf": now - 10, "exp": now + 300, "access": access,
    });
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(key, signed.as_bytes()));
    debug_assert!(STANDARD.decode(x5c).is_ok());
    format!("{signed}.{signature}")
}

fn sign(key: &Path, text: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut command = Command::new(tool("openssl"));
    command.args(["dgst", "-sha256", "-sign"]).arg(key);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("openssl starts");
    child.stdin.take().expect("a pipe").write_all(text).expect("openssl reads");
    child.wait_with_output().expect("openssl signs the text").stdout
}
