//! Images of a container engine on this machine, through its API. No client program is needed.
//!
//! This is the Docker Engine API (1.24 and later), which podman's service also provides. `GET
//! /images/NAME/json` returns the image of a name, and `GET /images/ID/get` streams the output of `docker
//! save`. A request by ID returns only that image. A name without a tag would return all tags of the
//! repository. Nothing changes in the engine.

mod endpoint;
mod kind;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::StreamExt as _;
use serde::Deserialize;

use crate::blob::BlobReader;
use crate::error::{Error, Result};
use crate::format::FormatError;
use crate::format::text::shown;
use crate::limit;
use crate::remote::{add_to, add_to_plain, causes, host_tls};
use endpoint::{Address, Endpoint};

pub use kind::EngineKind;

/// The maximum time to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// The maximum time without data. An engine packs an image before it sends the first byte.
const PATIENCE: Duration = Duration::from_secs(600);

/// A container engine of this machine.
#[derive(Clone, Debug)]
pub struct Engine {
    kind: EngineKind,
    /// The requested image, for messages.
    name: String,
    base: String,
    /// The address of the engine, for messages.
    place: String,
    client: reqwest::Client,
}

/// An image of an engine.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EngineImage {
    /// The unique ID of the image.
    pub id: String,
    /// The size of the image in bytes, as the engine counts it.
    #[serde(default)]
    pub size: u64,
}

/// The response of an engine to a refused request.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Engine {
    /// Opens the engine that the environment names (`DOCKER_HOST`, docker's context, `CONTAINER_HOST`), or
    /// else the one at the usual sockets. `name` is the requested image.
    ///
    /// # Errors
    ///
    /// If no engine responds, or this user may not access it ([`Error::Engine`]). If the name is not valid
    /// for an image ([`FormatError::InvalidReference`]).
    pub fn open(kind: EngineKind, name: &str) -> Result<Self> {
        check_name(kind, name)?;
        let Endpoint { address, tls } = endpoint::find(kind, name, &|name| std::env::var_os(name))?;
        let builder = reqwest::Client::builder()
            .user_agent(concat!("compat/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(CONNECT)
            .read_timeout(PATIENCE);
        let place = address.to_string();
        let (builder, base) = match (address, tls) {
            (Address::Socket(path), _) => {
                (add_to_plain(builder).unix_socket(path), "http://localhost".to_owned())
            }
            (Address::Server(host), None) => (add_to_plain(builder), format!("http://{host}")),
            (Address::Server(host), Some(tls)) => {
                (add_to(builder, host_tls(&host, &tls)?, &tls)?, format!("https://{host}"))
            }
        };
        let client = builder.build().map_err(|error| Error::InvalidOption {
            option: "the engine's address",
            reason: causes(&error),
        })?;
        Ok(Self { kind, name: name.to_owned(), base, place, client })
    }

    /// Returns the image of the name: a name with or without a tag, or an ID.
    ///
    /// # Errors
    ///
    /// If the engine does not have it, or does not respond ([`Error::Engine`]).
    pub async fn image(&self) -> Result<EngineImage> {
        let mut body = self.ask(&format!("images/{}/json", self.name)).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = body.next().await {
            bytes.extend_from_slice(&piece?);
            if bytes.len() as u64 > limit::MANIFEST {
                let what = format!("the response of {}", self.kind.program());
                return Err(Error::TooLarge { what, limit: limit::MANIFEST });
            }
        }
        let image: EngineImage = serde_json::from_slice(&bytes).map_err(|error| {
            Error::malformed(format!("the response of {}", self.place), error.to_string())
        })?;
        check_name(self.kind, &image.id)?;
        Ok(image)
    }

    /// Streams an image in the format of `docker save`.
    ///
    /// # Errors
    ///
    /// If the engine does not provide it ([`Error::Engine`]).
    pub async fn save(&self, image: &EngineImage) -> Result<BlobReader> {
        self.ask(&format!("images/{}/get", image.id)).await
    }

    async fn ask(&self, path: &str) -> Result<BlobReader> {
        let answer = self.client.get(format!("{}/{path}", self.base)).send().await;
        let answer = answer.map_err(|error| self.broken(&error))?;
        let status = answer.status();
        let engine = self.clone();
        let mut body: BlobReader =
            Box::pin(answer.bytes_stream().map(move |piece| piece.map_err(|error| engine.broken(&error))));
        if status.is_success() {
            return Ok(body);
        }
        let mut text = Vec::new();
        while let Some(Ok(piece)) = body.next().await {
            text.extend_from_slice(&piece);
            if text.len() > limit::ERROR_BODY as usize {
                break;
            }
        }
        Err(self.refused(status.as_u16(), &text))
    }

    /// Returns the error of a refused request.
    fn refused(&self, status: u16, body: &[u8]) -> Error {
        let Self { kind, name, place, .. } = self;
        let program = kind.program();
        let said = serde_json::from_slice(body)
            .map_or_else(|_| String::from_utf8_lossy(body).into_owned(), |refusal: Refusal| refusal.message);
        let lower = said.to_lowercase();
        // Older engines return 500 for an unknown name.
        if status == 404 || lower.contains("no such image") || lower.contains("reference does not exist") {
            let hint = format!(
                "list the images with `{program} images`, or check an image of a registry without pulling it: \
                 `compat check {name}`"
            );
            return Error::Engine { message: format!("{program} has no image {name}"), hint };
        }
        let message = format!(
            "could not read {}{name}: {place} answered {status}: {}",
            kind.prefix(),
            shown(&said, 300)
        );
        Error::Engine { message, hint: format!("use an archive instead: {}", kind.archive(name)) }
    }

    fn broken(&self, error: &reqwest::Error) -> Error {
        let Self { kind, name, place, .. } = self;
        let message = format!("could not read {}{name} from {place}: {}", kind.prefix(), causes(error));
        Error::Engine { message, hint: format!("use an archive instead: {}", kind.archive(name)) }
    }
}

/// Accepts only the characters of references and IDs, because the name becomes part of a path.
fn check_name(kind: EngineKind, name: &str) -> Result<()> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@-".contains(&byte);
    let climbs = name.split('/').any(|part| matches!(part, "" | "." | ".."));
    let reason = match () {
        () if name.is_empty() => "it does not name an image",
        () if name.starts_with('[') => "a storage other than the default one cannot be chosen",
        () if climbs || !name.bytes().all(is_part) => "it is not the name of an image",
        () => return Ok(()),
    };
    let reference = format!("{}{}", kind.prefix(), shown(name, 200));
    Err(FormatError::InvalidReference { reference, reason: reason.to_owned() }.into())
}
