//! The resources that one run opens only once: the clients for registries, their runtime, the cache, and
//! standard input.
//!
//! Each is opened on first use. Credentials given for this run are used only for the registries on the
//! command line. A client with such credentials serves one host. Any other host, such as the target of a
//! redirect, never receives them.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Runtime;

use super::{Failure, Observer, StandardInput};
use compat_oci::credential::Credential;
use compat_oci::{Cache, Client, ClientOptions, Error};

/// How to talk to registries, and the location of the cache.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// How to talk to registries.
    pub client: ClientOptions,
    /// The user name for the registry on the command line. The password comes from standard input.
    pub username: Option<String>,
    /// The credentials file that the user named. It replaces those of the environment and must exist.
    pub authfile: Option<PathBuf>,
    /// The directory of the cache. Without it, nothing is cached.
    pub cache: Option<PathBuf>,
    /// The maximum size of the cache in bytes.
    pub cache_limit: Option<u64>,
}

/// The open resources of one run.
#[derive(Debug)]
pub struct Session {
    options: SessionOptions,
    observer: Arc<dyn Observer>,
    cache: Cache,
    stdin: StandardInput,
    /// The clients by the host of their credentials. The client without credentials is under `None`.
    clients: RefCell<HashMap<Option<String>, Client>>,
    runtime: OnceCell<Runtime>,
}

/// A client with its runtime.
#[derive(Debug)]
pub struct Connection<'a> {
    /// The client.
    pub client: Client,
    session: &'a Session,
    runtime: &'a Runtime,
}

impl Session {
    /// Creates a session without open resources.
    pub fn new(options: SessionOptions, observer: Arc<dyn Observer>) -> Self {
        let cache = Cache::new(options.cache.clone(), observer.clone()).with_limit(options.cache_limit);
        Self {
            options,
            observer,
            cache,
            stdin: StandardInput::default(),
            clients: RefCell::default(),
            runtime: OnceCell::new(),
        }
    }

    /// Returns the observer.
    pub fn observer(&self) -> &dyn Observer {
        self.observer.as_ref()
    }

    /// Returns the cache of artifacts.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Returns the standard input of this run.
    pub fn stdin(&self) -> &StandardInput {
        &self.stdin
    }

    /// Returns a client for registries. Credentials given for this run are used only for `host`.
    ///
    /// # Errors
    ///
    /// If the password cannot be read.
    pub fn connect(&self, host: Option<&str>) -> Result<Connection<'_>, Failure> {
        Ok(Connection { client: self.client(host)?, session: self, runtime: self.runtime()? })
    }

    fn client(&self, host: Option<&str>) -> Result<Client, Failure> {
        let login = host.zip(self.options.username.as_ref());
        let key = login.map(|(host, _)| host.to_owned());
        if let Some(client) = self.clients.borrow().get(&key) {
            return Ok(client.clone());
        }
        let mut options = self.options.client.clone();
        if let Some(file) = &self.options.authfile {
            expect_readable(file)?;
            options.credentials.file = Some(file.clone());
        }
        if let Some((host, username)) = login {
            let credential =
                Credential::Password { username: username.clone(), password: self.stdin.password()? };
            options.credentials.explicit = Some((host.to_owned(), credential));
        }
        let client = Client::new(options, self.observer.clone());
        self.clients.borrow_mut().insert(key, client.clone());
        Ok(client)
    }

    fn runtime(&self) -> Result<&Runtime, Failure> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::undecided(&error))?;
        Ok(self.runtime.get_or_init(|| runtime))
    }
}

/// Fails if a credentials file cannot be read. A registry that asks for no credentials would otherwise hide a
/// wrong name. A pipe is not opened, because it can be read only once.
fn expect_readable(file: &Path) -> Result<(), Failure> {
    let readable = std::fs::metadata(file).and_then(|found| match () {
        () if found.is_dir() => Err(std::io::ErrorKind::IsADirectory.into()),
        () if found.is_file() => std::fs::File::open(file).map(drop),
        () => Ok(()),
    });
    readable.map_err(|error| {
        let reason = format!("could not read the credentials: {error}");
        Failure::from(&Error::Settings { path: file.to_owned(), reason })
            .with_hint("--authfile must name a credentials file such as podman's auth.json".to_owned())
    })
}

impl Connection<'_> {
    /// Runs a registry task to its end and converts its error to a failure.
    ///
    /// # Errors
    ///
    /// If the task fails.
    pub fn run<T>(&self, task: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        self.run_any(task).map_err(|error| Failure::from(&error))
    }

    /// Runs any task to its end.
    pub fn run_any<T>(&self, task: impl Future<Output = T>) -> T {
        let outcome = self.runtime.block_on(task);
        self.session.observer.finish();
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nobody;

    impl compat_oci::Observer for Nobody {}

    impl Observer for Nobody {
        fn warn(&self, _text: &str) {}
        fn failed(&self, _failure: &Failure) {}
        fn finish(&self) {}
    }

    fn session(username: Option<&str>) -> Session {
        let options = SessionOptions { username: username.map(str::to_owned), ..SessionOptions::default() };
        let session = Session::new(options, Arc::new(Nobody));
        session.stdin.know("secret");
        session
    }

    fn login(session: &Session, host: Option<&str>) -> Option<String> {
        let client = session.connect(host).unwrap().client;
        client.options().credentials.explicit.as_ref().map(|(host, _)| host.clone())
    }

    #[test]
    fn credentials_are_for_the_named_host_alone() {
        let session = session(Some("alice"));
        assert_eq!(login(&session, Some("a.example")).as_deref(), Some("a.example"));
        assert_eq!(login(&session, Some("b.example:5000")).as_deref(), Some("b.example:5000"));
        assert_eq!(login(&session, Some("a.example")).as_deref(), Some("a.example"));
        assert_eq!(login(&session, None), None, "an image layout is no host");
        assert_eq!(session.clients.borrow().len(), 3);
    }

    #[test]
    fn without_credentials_one_client_is_for_every_host() {
        let session = session(None);
        for host in [Some("a.example"), None, Some("b.example")] {
            assert_eq!(login(&session, host), None);
        }
        assert_eq!(session.clients.borrow().len(), 1);
    }

    #[test]
    fn a_named_credentials_file_must_be_readable() {
        let connect = |file: &Path| {
            let options = SessionOptions { authfile: Some(file.to_owned()), ..SessionOptions::default() };
            let connection = Session::new(options, Arc::new(Nobody)).connect(None)?.client.options().clone();
            Ok::<_, Failure>(connection.credentials.file)
        };
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("auth.json");
        for path in [file.as_path(), directory.path()] {
            let failure = connect(path).unwrap_err();
            assert!(failure.message.starts_with(&path.display().to_string()), "{}", failure.message);
            assert_eq!(failure.cause, crate::app::Cause::Undecided);
        }
        std::fs::write(&file, "{}").unwrap();
        assert_eq!(connect(&file).unwrap(), Some(file));
        assert!(connect(Path::new("/dev/null")).is_ok());
    }
}
