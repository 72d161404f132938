//! Paged listings: the referrers API and the tags.

use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

use reqwest::header::ACCEPT;
use serde::Deserialize;
use url::Url;

use super::ask::{Ask, AskTarget};
use super::link;
use super::message::Answer;
use super::repository::Repository;
use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::format::location::Selector;
use crate::format::manifest::{DOCKER_LIST, Descriptor, IMAGE_INDEX, Index, Manifest};
use crate::limit;

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

/// The content under a fallback tag.
#[derive(Clone, Debug)]
pub(crate) enum Fallback {
    /// The tag does not exist.
    Absent,
    /// An index of referrers.
    List(Box<Index>),
    /// Other content, which is not changed. The text is the reason, as a sentence about the registry.
    Other(String),
}

impl Repository {
    /// Returns the referrers from all pages of the API, or `None` if the registry has no such API. That is so
    /// for 404, 405, 400, 501 and similar, for another content type, and for a redirect to another origin
    /// that returns anything but a list, or nothing. The filter is only a request: the result may contain
    /// other types.
    ///
    /// # Errors
    ///
    /// If the registry returns 401 or 403, which is not an empty list, or the listing does not end.
    pub(crate) async fn referrers_api(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Vec<Descriptor>>> {
        if self.client.lacks_referrers(self.host(), self.name()) {
            return Ok(None);
        }
        let what = format!("the referrers of {}", self.display(subject.as_str()));
        let mut path = format!("referrers/{subject}");
        if let Some(artifact_type) = artifact_type {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("artifactType", artifact_type)
                .finish();
            path = format!("{path}?{query}");
        }
        let mut first = Ask::read(path, &what, limit::PAGE);
        first.headers.push((ACCEPT, IMAGE_INDEX.to_owned()));
        first.tentative = true;
        let start = Instant::now();
        let answer = match self.ask(first).await {
            Err(Error::Elsewhere(fault)) => {
                if start.elapsed() >= limit::SILENCE {
                    let note =
                        format!("{}: its list of referrers is on another host, and {fault}", self.host());
                    self.client.observer().note(&note);
                }
                self.client.remember_no_referrers(self.host(), self.name());
                return Ok(None);
            }
            answer => answer?,
        };
        if lacks_api(&answer) || answer.status != 200 && self.is_foreign(&answer)? {
            self.client.remember_no_referrers(self.host(), self.name());
            return Ok(None);
        }
        if answer.status != 200 {
            return Err(self.failure(&answer, &format!("read {what}")));
        }
        let mut found = ListedReferrers::default();
        self.pages(answer, &what, |answer| found.add(&what, answer)).await?;
        Ok(Some(found.descriptors))
    }

    /// Returns the content under the fallback tag of a subject.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(crate) async fn fallback(&self, subject: &Digest) -> Result<Fallback> {
        let tag = subject.fallback_tag();
        let what = self.display(&tag);
        let resolved = match self.manifest(&Selector::Tag(tag)).await {
            Ok(resolved) => resolved,
            Err(Error::NotFound { .. }) => return Ok(Fallback::Absent),
            Err(Error::Status { status: 400, detail, .. }) => {
                return Ok(Fallback::Other(format!("it rejects the tag {what}{detail}")));
            }
            Err(error) => return Err(error),
        };
        if resolved.descriptor.digest == *subject || subject.same_algorithm_of(&resolved.bytes) == *subject {
            return Ok(Fallback::Other(format!("it returns the image itself for the tag {what}")));
        }
        let media_type = resolved.descriptor.media_type.as_str();
        let other =
            |kind: &str| Ok(Fallback::Other(format!("the tag {what} is {kind}, not a list of referrers")));
        match Manifest::parse(&what, Some(media_type), &resolved.bytes) {
            Ok(Manifest::Index(index)) if is_list_of_referrers(&index, media_type) => {
                Ok(Fallback::List(index))
            }
            Ok(Manifest::Index(_)) => other("an index of images"),
            Ok(Manifest::Image(_)) => other("an image or artifact"),
            Err(error) if media_type == IMAGE_INDEX => Err(error.into()),
            Err(_) => other("not an index"),
        }
    }

    /// Returns all tags.
    ///
    /// # Errors
    ///
    /// If they cannot be listed.
    pub(crate) async fn tags(&self) -> Result<Vec<String>> {
        let what = format!("the tags of {}/{}", self.host(), self.name());
        let answer = self.ask_ok(Ask::read("tags/list".into(), &what, limit::PAGE), &what).await?;
        let mut tags = BTreeSet::new();
        self.pages(answer, &what, |answer| {
            let page: Tags = serde_json::from_slice(&answer.body)
                .map_err(|error| Error::malformed(&what, error.to_string()))?;
            tags.extend(page.tags.unwrap_or_default());
            within(&what, tags.len())
        })
        .await?;
        Ok(tags.into_iter().collect())
    }

    /// Follows `Link` from page to page. Each address is visited once.
    async fn pages(
        &self,
        first: Answer,
        what: &str,
        mut take: impl FnMut(&Answer) -> Result<()>,
    ) -> Result<()> {
        let mut seen: HashSet<Url> = HashSet::new();
        let mut answer = first;
        loop {
            seen.insert(answer.url.clone());
            take(&answer)?;
            let next =
                link::next(&answer.headers, &answer.url).map_err(|reason| Error::malformed(what, reason))?;
            let Some(next) = next.filter(|next| !seen.contains(next)) else { return Ok(()) };
            if seen.len() >= limit::PAGES {
                return Err(Error::malformed(what, format!("it has more than {} pages", limit::PAGES)));
            }
            let mut ask = Ask::read(String::new(), what, limit::PAGE);
            ask.target = AskTarget::Url(next);
            answer = self.ask_ok(ask, what).await?;
        }
    }
}

#[derive(Default)]
struct ListedReferrers {
    descriptors: Vec<Descriptor>,
    digests: HashSet<Digest>,
    bytes: usize,
}

impl ListedReferrers {
    fn add(&mut self, what: &str, answer: &Answer) -> Result<()> {
        self.bytes += answer.body.len();
        if self.bytes as u64 > limit::SPECIFICATION {
            return Err(Error::TooLarge { what: what.to_owned(), limit: limit::SPECIFICATION });
        }
        let Manifest::Index(index) = Manifest::parse(what, Some(IMAGE_INDEX), &answer.body)? else {
            return Err(Error::malformed(what, "it is not an index"));
        };
        for descriptor in index.manifests {
            if self.digests.insert(descriptor.digest.clone()) {
                self.descriptors.push(descriptor);
            }
        }
        within(what, self.descriptors.len())
    }
}

fn within(what: &str, count: usize) -> Result<()> {
    if count > limit::GRAPH {
        return Err(Error::malformed(what, format!("it has more than {} entries", limit::GRAPH)));
    }
    Ok(())
}

/// Returns whether an index lists referrers instead of the images of several platforms.
fn is_list_of_referrers(index: &Index, media_type: &str) -> bool {
    let is_image = |entry: &Descriptor| entry.platform.is_some();
    media_type != DOCKER_LIST && (index.manifests.is_empty() || !index.manifests.iter().all(is_image))
}

/// Returns whether a response means that there is no referrers API.
fn lacks_api(answer: &Answer) -> bool {
    match answer.status.as_u16() {
        200 => {
            let kind = answer.header("content-type").and_then(|kind| kind.split(';').next());
            !kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(IMAGE_INDEX))
        }
        301..=308 | 400 | 404 | 405 | 406 | 410 | 415 | 501 => true,
        _ => false,
    }
}
