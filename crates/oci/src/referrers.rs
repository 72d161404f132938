//! Referrers of a manifest in a registry: listing, and the fallback tag.
//!
//! Registries without the referrers API keep referrers in an index under the tag `sha256-HEX`
//! (distribution-spec, "referrers tag schema"). Every client reads, changes and writes back this index.
//! Nothing makes that atomic, because most of these registries ignore `If-Match`. Two concurrent writers lose
//! one entry without an error. This module prevents the loss as follows:
//!
//! - Each writer remembers every entry that it has seen. It restores vanished entries unless their manifest
//!   was deleted. Any one of the concurrent writers thus repairs the loss of any other.
//! - Nothing else happens between reading and writing, so another write can be lost only within one request
//!   and its response.
//! - After its entry is listed, a writer keeps reading for a while before it trusts the result. The time is a
//!   multiple of its slowest request, and longer if it has seen other writers. A writer that read before and
//!   writes after has finished by then, and the overwritten entries are restored.
//! - A writer that loses waits a random time before it tries again. Everything is bounded: in the end the
//!   entry is listed, or the command fails.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::format::location::Selector;
use crate::format::manifest::{Descriptor, IMAGE_INDEX, Index};
use crate::format::media_type;
use crate::remote::{Fallback, Repository};

/// The maximum time that a writer tries.
const DEADLINE: Duration = Duration::from_secs(120);
/// The time after which a note is printed.
const PATIENCE: Duration = Duration::from_secs(4);
/// The maximum number of writes. If nothing lasts, no other writer is the cause.
const WRITES: u32 = 60;
/// The maximum number of refusals of the same index as a conflict (409, 412). The index did not change in
/// between, so no other writer is the cause.
const CONFLICTS: u32 = 4;
/// The minimum time for which an entry must have been listed, alone and among other writers.
const QUIET: (Duration, Duration) = (Duration::from_millis(600), Duration::from_millis(1800));
/// The maximum of that time.
const LONGEST: Duration = Duration::from_secs(15);
/// The number of consecutive reads that must show it.
const READS: u32 = 4;

/// Lists the referrers of `subject` with the API, or else with the fallback tag.
///
/// # Errors
///
/// If the registry refuses or does not respond.
pub async fn list(
    repository: &Repository,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Descriptor>> {
    let Some(mut found) = repository.referrers_api(subject, artifact_type).await? else {
        return under_fallback_tag(repository, subject).await;
    };
    let wanted = artifact_type.unwrap_or(media_type::ARTIFACT_TYPE);
    if found.iter().any(|entry| entry.artifact_type.as_deref() == Some(wanted)) {
        return Ok(found);
    }
    // Artifacts that were attached while the API was unavailable, or before the registry had it, are listed
    // under the tag. Only those that still exist count, because a deletion through the API does not change
    // the tag.
    for entry in under_fallback_tag(repository, subject).await.unwrap_or_default() {
        let is_known = found.iter().any(|known| known.digest == entry.digest);
        let selector = Selector::Digest(entry.digest.clone());
        if !is_known && repository.manifest_digest(&selector).await?.is_some() {
            found.push(entry);
        }
    }
    Ok(found)
}

async fn under_fallback_tag(repository: &Repository, subject: &Digest) -> Result<Vec<Descriptor>> {
    Ok(match repository.fallback(subject).await? {
        Fallback::List(index) => index.manifests,
        Fallback::Absent | Fallback::Other(_) => Vec::new(),
    })
}

/// Makes sure, before anything is sent, that a repository can keep referrers: with the API, or under a
/// fallback tag that is free. (GitLab returns the subject itself under the fallback tag.)
///
/// # Errors
///
/// If it cannot ([`Error::CannotKeep`]), or the registry fails.
pub(crate) async fn expect_kept(repository: &Repository, subject: &Digest) -> Result<()> {
    let kind = Some(media_type::ARTIFACT_TYPE);
    if repository.referrers_api(subject, kind).await?.is_some() {
        return Ok(());
    }
    match repository.fallback(subject).await? {
        Fallback::Absent | Fallback::List(_) => Ok(()),
        Fallback::Other(reason) => Err(cannot_keep(repository, subject, reason)),
    }
}

fn cannot_keep(repository: &Repository, subject: &Digest, reason: String) -> Error {
    Error::CannotKeep { subject: repository.display(subject.as_str()), reason }
}

/// How an entry is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedBy {
    /// The registry's referrers API, or the layout's own index.
    Registry,
    /// The fallback tag.
    FallbackTag,
}

/// A pushed manifest that must be listed among the referrers of its subject.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewReferrer<'a> {
    /// The subject.
    pub subject: &'a Descriptor,
    /// The entry to list.
    pub entry: &'a Descriptor,
    /// The bytes of the manifest.
    pub bytes: &'a Bytes,
    /// Whether the registry announced, on the push, that it lists the manifest itself.
    pub announced: bool,
}

/// Makes sure that a pushed manifest is listed among the referrers of its subject.
///
/// # Errors
///
/// If it is not listed in the end ([`Error::NotListed`]).
pub(crate) async fn ensure_listed(repository: &Repository, pushed: NewReferrer<'_>) -> Result<ListedBy> {
    let (subject, entry) = (pushed.subject, pushed.entry);
    let api = if pushed.announced {
        kept_by_api(repository, pushed).await?
    } else {
        seen_by_api(repository, subject, entry, 1).await?
    };
    if api == Some(true) {
        return Ok(ListedBy::Registry);
    }
    FallbackTag::new(repository, &subject.digest).add(entry.clone()).await?;
    // Other clients use the API of such a registry, so only its list counts.
    if api.is_some() && seen_by_api(repository, subject, entry, 4).await? != Some(true) {
        return Err(not_listed(repository, &subject.digest, entry, "its referrers API does not list it"));
    }
    Ok(ListedBy::FallbackTag)
}

/// Returns whether the API lists an entry permanently. Some registries announce this, but lose entries of
/// concurrent pushes. They receive the manifest again and are then watched for longer.
async fn kept_by_api(repository: &Repository, pushed: NewReferrer<'_>) -> Result<Option<bool>> {
    const TRIES: u32 = 12;
    /// The number of attempts before a note is printed.
    const LONG: u32 = 3;
    let mut wanted = 2;
    for time in 0..TRIES {
        match stays_listed(repository, pushed, wanted).await? {
            Some(false) => {}
            answer => return Ok(answer),
        }
        wanted = READS + 2;
        if time == LONG {
            let subject = repository.display(pushed.subject.digest.as_str());
            let note = format!(
                "waiting until the registry lists the artifact attached to {subject}: it loses entries"
            );
            repository.client().observer().note(&note);
        }
        let most = 100_u64 << time.min(4);
        tokio::time::sleep(Duration::from_millis(fastrand::u64(most / 2..=most))).await;
        repository.put_manifest(None, pushed.entry, pushed.bytes).await?;
    }
    Ok(Some(false))
}

/// Returns whether the API lists an entry `times` times in a row, or `None` without the API.
async fn stays_listed(repository: &Repository, pushed: NewReferrer<'_>, times: u32) -> Result<Option<bool>> {
    for time in 0..times {
        if time > 0 {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(100..=300))).await;
        }
        let seen = seen_by_api(repository, pushed.subject, pushed.entry, 1).await?;
        if seen != Some(true) {
            return Ok(seen);
        }
    }
    Ok(Some(true))
}

/// Returns whether the API lists an entry within a few requests, or `None` without the API.
async fn seen_by_api(
    repository: &Repository,
    subject: &Descriptor,
    entry: &Descriptor,
    times: u32,
) -> Result<Option<bool>> {
    for time in 0..times {
        if time > 0 {
            tokio::time::sleep(Duration::from_millis(100 << time)).await;
        }
        match repository.referrers_api(&subject.digest, None).await? {
            None => return Ok(None),
            Some(found) if found.iter().any(|known| known.digest == entry.digest) => return Ok(Some(true)),
            Some(_) => {}
        }
    }
    Ok(Some(false))
}

fn not_listed(repository: &Repository, subject: &Digest, entry: &Descriptor, reason: &str) -> Error {
    Error::NotListed {
        artifact: entry.digest.clone(),
        subject: repository.display(subject.as_str()),
        reason: reason.to_owned(),
    }
}

/// A change of the index under a fallback tag, repeated until it lasts.
struct FallbackTag<'a> {
    repository: &'a Repository,
    subject: &'a Digest,
    start: Instant,
    slowest: Duration,
    /// Whether other writers were seen in the meantime.
    contended: bool,
    writes: u32,
    /// Whether the note about the long wait was printed.
    told: bool,
    /// The index that was last refused as a conflict, and the number of refusals.
    refused: Option<(Digest, u32)>,
    /// Entries of others whose manifests were found.
    confirmed: HashSet<Digest>,
}

impl<'a> FallbackTag<'a> {
    fn new(repository: &'a Repository, subject: &'a Digest) -> Self {
        Self {
            repository,
            subject,
            start: Instant::now(),
            slowest: Duration::ZERO,
            contended: false,
            writes: 0,
            told: false,
            refused: None,
            confirmed: HashSet::new(),
        }
    }

    /// Adds an entry.
    async fn add(&mut self, entry: Descriptor) -> Result<()> {
        let mut known = vec![entry.clone()];
        let mut quiet: Option<(Instant, u32)> = None;
        let mut waited = false;
        while self.may_go_on() {
            let mut index = self.read().await?;
            let lost: Vec<Descriptor> = missing(&known, &index);
            for other in missing(&index.manifests, &Index { manifests: known.clone(), ..Index::default() }) {
                self.contended |= self.writes > 0;
                known.push(other);
            }
            if lost.is_empty() {
                if self.has_settled(&mut quiet) {
                    return Ok(());
                }
                self.doze().await;
                continue;
            }
            quiet = None;
            if self.forget_deleted(&entry.digest, &lost, &mut known).await? {
                continue;
            }
            if self.writes > 0 && !waited {
                self.contended = true;
                waited = true;
                self.back_off().await;
                continue;
            }
            index.manifests.extend(lost);
            self.write(&index).await?;
            waited = false;
        }
        Err(not_listed(self.repository, self.subject, &entry, "other writers kept overwriting it"))
    }

    /// Removes an entry. Returns whether it was listed.
    async fn remove(&mut self, digest: &Digest) -> Result<bool> {
        let mut quiet: Option<(Instant, u32)> = None;
        while self.may_go_on() {
            let mut index = self.read().await?;
            let before = index.manifests.len();
            index.manifests.retain(|known| known.digest != *digest);
            if index.manifests.len() == before {
                if self.writes == 0 || self.has_settled(&mut quiet) {
                    return Ok(self.writes > 0);
                }
                self.doze().await;
                continue;
            }
            quiet = None;
            if self.writes > 0 {
                self.contended = true;
                self.back_off().await;
                index = self.read().await?;
                index.manifests.retain(|known| known.digest != *digest);
            }
            self.write(&index).await?;
        }
        let entry = Descriptor { digest: digest.clone(), ..Descriptor::empty() };
        Err(not_listed(self.repository, self.subject, &entry, "other writers kept putting it back"))
    }

    /// Reads the index. Registries that write a tag's link in place show no tag for an instant. A client that
    /// believed this would start a new index without the other entries. Therefore the tag counts as absent
    /// only after three reads.
    async fn read(&mut self) -> Result<Index> {
        for time in 0..3 {
            if time > 0 {
                tokio::time::sleep(Duration::from_millis(fastrand::u64(10..=40))).await;
            }
            let start = Instant::now();
            let found = self.repository.fallback(self.subject).await?;
            self.slowest = self.slowest.max(start.elapsed());
            match found {
                Fallback::List(index) => return Ok(*index),
                Fallback::Other(reason) => return Err(cannot_keep(self.repository, self.subject, reason)),
                Fallback::Absent => {}
            }
        }
        Ok(Index::default())
    }

    async fn write(&mut self, index: &Index) -> Result<()> {
        let tag = self.subject.fallback_tag();
        let bytes = serde_json::to_vec(index)
            .map_err(|error| Error::malformed(self.repository.display(&tag), error.to_string()))?;
        let media_type = index.media_type.clone().unwrap_or_else(|| IMAGE_INDEX.to_owned());
        let descriptor = Descriptor::of(media_type, &bytes);
        let start = Instant::now();
        let outcome = self.repository.put_fallback_index(&tag, &descriptor, &Bytes::from(bytes)).await;
        self.slowest = self.slowest.max(start.elapsed());
        self.writes += 1;
        match outcome {
            Ok(_) => Ok(()),
            // Another writer was faster. The next read shows its index.
            Err(error) if self.is_conflict(&error, &descriptor.digest) => {
                self.contended = true;
                self.back_off().await;
                Ok(())
            }
            // A rate limit has already been waited for as long as allowed.
            Err(error) if error.is_transient() && !matches!(error, Error::Status { status: 429, .. }) => {
                self.back_off().await;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Returns whether a refusal means that another writer was faster. It does not if the registry forbids
    /// changes to the tag, or if the index did not change in several attempts. The message of the registry
    /// then counts.
    fn is_conflict(&mut self, error: &Error, written: &Digest) -> bool {
        let Error::Status { status: 409 | 412, detail, .. } = error else { return false };
        if detail.to_ascii_lowercase().contains("immutable") {
            return false;
        }
        let before =
            self.refused.take().filter(|(digest, _)| digest == written).map_or(0, |(_, times)| times);
        self.refused = Some((written.clone(), before + 1));
        before + 1 < CONFLICTS
    }

    /// Forgets entries of others that vanished because their manifests were deleted. Returns whether any had
    /// to be looked up, because the index may have changed in that time.
    async fn forget_deleted(
        &mut self,
        own: &Digest,
        lost: &[Descriptor],
        known: &mut Vec<Descriptor>,
    ) -> Result<bool> {
        let mut looked = false;
        for entry in lost {
            if entry.digest == *own || self.confirmed.contains(&entry.digest) {
                continue;
            }
            looked = true;
            let selector = Selector::Digest(entry.digest.clone());
            if self.repository.manifest_digest(&selector).await?.is_some() {
                self.confirmed.insert(entry.digest.clone());
            } else {
                known.retain(|known| known.digest != entry.digest);
            }
        }
        Ok(looked)
    }

    fn may_go_on(&mut self) -> bool {
        if !self.told && self.start.elapsed() >= PATIENCE {
            self.told = true;
            let tag = self.repository.display(&self.subject.fallback_tag());
            let reason =
                if self.contended { "others are also writing to it" } else { "the registry is slow" };
            let note = format!("waiting until the list under {tag} no longer changes: {reason}");
            self.repository.client().observer().note(&note);
        }
        self.start.elapsed() < DEADLINE && self.writes < WRITES
    }

    fn has_settled(&self, quiet: &mut Option<(Instant, u32)>) -> bool {
        let (since, reads) = quiet.get_or_insert((Instant::now(), 0));
        *reads += 1;
        *reads >= READS && since.elapsed() >= self.window()
    }

    fn window(&self) -> Duration {
        let (least, factor) = if self.contended { (QUIET.1, 20) } else { (QUIET.0, 10) };
        (self.slowest * factor).clamp(least, LONGEST)
    }

    /// Waits for a random part of the window.
    async fn doze(&self) {
        let most = u64::try_from(self.window().as_millis()).unwrap_or(u64::MAX) / 3;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(most / 2..=most))).await;
    }

    /// Waits a random time, which is longer for a slow registry.
    async fn back_off(&self) {
        let most = u64::try_from(self.slowest.as_millis()).unwrap_or(u64::MAX).clamp(20, 500) * 4;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=most))).await;
    }
}

/// Returns the entries of `wanted` that an index lacks.
fn missing(wanted: &[Descriptor], index: &Index) -> Vec<Descriptor> {
    let has = |digest: &Digest| index.manifests.iter().any(|entry| entry.digest == *digest);
    wanted.iter().filter(|entry| !has(&entry.digest)).cloned().collect()
}

/// Removes a deleted referrer from the index under the fallback tag, if the registry keeps one. Returns
/// whether it was listed.
///
/// # Errors
///
/// If the index cannot be read or written.
pub(crate) async fn remove_from_fallback(
    repository: &Repository,
    subject: &Digest,
    entry: &Digest,
) -> Result<bool> {
    match FallbackTag::new(repository, subject).remove(entry).await {
        // The tag is not a list of referrers, so it does not contain the entry.
        Err(Error::CannotKeep { .. }) => Ok(false),
        outcome => outcome,
    }
}
