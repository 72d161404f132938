//! Listings with pages: the referrers API and the tags.

use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

use reqwest::header::ACCEPT;
use serde::Deserialize;
use url::Url;

use super::super::digest::Digest;
use super::super::error::{Error, Result};
use super::super::limit;
use super::super::location::Selector;
use super::super::manifest::{Descriptor, IMAGE_INDEX, Index, Manifest, Resolved};
use super::ask::{Ask, Target};
use super::exchange::Answer;
use super::link;
use super::repository::Repository;

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

impl Repository {
    /// The referrers as the API lists them, all pages; none where the registry has no such API
    /// (404, 405, 400, 501 and the like, an answer of another content type; a redirect to another origin that
    /// answers with anything but a list, or not at all). The filter is a wish: what comes back may hold other types.
    ///
    /// # Errors
    ///
    /// 401 and 403 are failures, not an empty list; so is a listing without end.
    pub async fn referrers_api(
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
                    let note = format!("{}: its list of referrers lies elsewhere, and {fault}", self.host());
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
        let mut found = Found::default();
        self.pages(answer, &what, |answer| found.add(&what, answer)).await?;
        Ok(Some(found.descriptors))
    }

    /// The index under the fallback tag; none where there is none.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, or is no index.
    pub async fn fallback_index(&self, subject: &Digest) -> Result<Option<(Index, Resolved)>> {
        let tag = subject.fallback_tag();
        let resolved = match self.manifest(&Selector::Tag(tag.clone())).await {
            Ok(resolved) => resolved,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        match resolved.parse()? {
            Manifest::Index(index) => Ok(Some((*index, resolved))),
            Manifest::Image(_) => {
                Err(Error::malformed(self.display(&tag), "it is not an index of referrers"))
            }
        }
    }

    /// All tags.
    ///
    /// # Errors
    ///
    /// Where they cannot be listed.
    pub async fn tags(&self) -> Result<Vec<String>> {
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

    /// Follows `Link` from page to page, each address once.
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
            ask.target = Target::Url(next);
            answer = self.ask_ok(ask, what).await?;
        }
    }
}

#[derive(Default)]
struct Found {
    descriptors: Vec<Descriptor>,
    digests: HashSet<Digest>,
    bytes: usize,
}

impl Found {
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

/// Whether an answer means that there is no referrers API.
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
