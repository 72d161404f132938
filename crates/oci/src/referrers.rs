//! Referrers of a manifest in a registry: listing, and the fallback tag.
//!
//! Registries without the referrers API keep them in an index under the tag `sha256-HEX`
//! (distribution-spec, "referrers tag schema"), which every client reads, changes and writes back.
//! Nothing makes that atomic: `If-Match` is ignored by most of these registries, so two writers at
//! once lose one entry, and no one is told. What is done about it here:
//!
//! - Each writer remembers every entry it has seen and puts back those that vanish (unless their
//!   manifest was deleted), so any one of the concurrent writers repairs the loss of any other.
//! - Between reading and writing nothing else happens: the time in which another's write can be
//!   overwritten is one request and its answer.
//! - After its entry is there, a writer keeps reading for a while before it believes it. The while
//!   is a multiple of the slowest request it has seen, and longer once it has seen others at work: a
//!   writer that read before and writes after has done so by then, and what it overwrote is put back.
//! - Who loses waits a random time before trying again. All of it is bounded; at the end the entry
//!   is there, or the command fails.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::format::digest::Digest;
use crate::format::location::Selector;
use crate::format::manifest::{Descriptor, IMAGE_INDEX, Index};
use crate::format::media_type;
use crate::remote::{Fallback, Repository};

/// How long a writer tries.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long it tries before it says so.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often it writes: where nothing lasts, no other writer is the cause.
const WRITES: u32 = 60;
/// How often the same index may be refused as a conflict (409, 412): no other writer changed it meanwhile, so that none
/// is the reason.
const CONFLICTS: u32 = 4;
/// The least time an entry must have been there, alone and among other writers.
const QUIET: (Duration, Duration) = (Duration::from_millis(600), Duration::from_millis(1800));
/// The most.
const LONGEST: Duration = Duration::from_secs(15);
/// How many times in a row it must have been seen.
const READS: u32 = 4;

/// Lists the referrers of `subject`: by the API, else by the fallback tag.
///
/// # Errors
///
/// If the registry refuses, or does not answer.
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
    // What was attached while the API was out of reach, or before the registry had it, lies under the tag. Of that only
    // what is still there counts: a deletion through the API leaves the tag as it is.
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

/// Makes sure that a repository can keep referrers, before anything is sent: by the API, or under a tag that is not
/// taken by something else (GitLab answers to the fallback tag with the subject itself).
///
/// # Errors
///
/// [`Error::CannotKeep`], or why it could not be found out.
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

/// How an entry came to be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedBy {
    /// The registry's referrers API, or the layout's own index.
    Registry,
    /// The fallback tag.
    FallbackTag,
}

/// A manifest that was pushed and is to be listed among the referrers of its subject.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewReferrer<'a> {
    /// The manifest whose referrers it is to be among.
    pub subject: &'a Descriptor,
    /// How it is to be listed.
    pub entry: &'a Descriptor,
    /// Its bytes.
    pub bytes: &'a Bytes,
    /// Whether the registry said, when it took the manifest, that it lists it itself.
    pub announced: bool,
}

/// Makes sure that a pushed manifest is listed among the referrers of its subject.
///
/// # Errors
///
/// [`Error::NotListed`] where it is not seen in the end.
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
    // A registry with the API is asked by others through the API: only what it lists counts.
    if api.is_some() && seen_by_api(repository, subject, entry, 4).await? != Some(true) {
        return Err(not_listed(repository, &subject.digest, entry, "its referrers API does not list it"));
    }
    Ok(ListedBy::FallbackTag)
}

/// Whether the API lists an entry and goes on doing so. A registry that announces it and yet lets
/// concurrent pushes overwrite each other's entries is given the manifest again, and then watched
/// for longer.
async fn kept_by_api(repository: &Repository, pushed: NewReferrer<'_>) -> Result<Option<bool>> {
    const TRIES: u32 = 12;
    /// After so many it is said.
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
            let note =
                format!("waiting until the registry lists what is attached to {subject}: it loses entries");
            repository.client().observer().note(&note);
        }
        let most = 100_u64 << time.min(4);
        tokio::time::sleep(Duration::from_millis(fastrand::u64(most / 2..=most))).await;
        repository.put_manifest(None, pushed.entry, pushed.bytes).await?;
    }
    Ok(Some(false))
}

/// Whether the API lists an entry `times` times in a row; none where there is no API.
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

/// Whether the API lists an entry, asking again a few times; none where there is no API.
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

/// A change of the index under a fallback tag, seen through until it lasts.
struct FallbackTag<'a> {
    repository: &'a Repository,
    subject: &'a Digest,
    start: Instant,
    slowest: Duration,
    /// Whether others were seen writing meanwhile.
    contended: bool,
    writes: u32,
    /// Whether it was said that this takes long.
    told: bool,
    /// What was refused as a conflict last, and how often.
    refused: Option<(Digest, u32)>,
    /// Entries of others whose manifest was looked for and found.
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

    /// Removes an entry; says whether it was there.
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

    /// Reads the index. Registries that write a tag's link in place show, for an instant, no tag at
    /// all, and whoever believed that would begin a new index without anyone's entries: that there is
    /// none is believed only when it has been seen three times.
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
            // Someone else was faster: the next read tells what is there.
            Err(error) if self.is_conflict(&error, &descriptor.digest) => {
                self.contended = true;
                self.back_off().await;
                Ok(())
            }
            // A rate limit has been waited for as long as it may be.
            Err(error) if error.is_transient() && !matches!(error, Error::Status { status: 429, .. }) => {
                self.back_off().await;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a refusal means that another writer was faster. It does not if the registry forbids to change the tag,
    /// nor if nothing of the index has changed in several tries: then the registry's own words count.
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

    /// Forgets entries of others that vanished because their manifests were deleted; says whether
    /// any had to be looked for, in which time the index may have changed.
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
                if self.contended { "others are writing to it, too" } else { "the registry is slow" };
            let note = format!("waiting until the list under {tag} stays as it is: {reason}");
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

    /// Waits a part of the window, not always the same.
    async fn doze(&self) {
        let most = u64::try_from(self.window().as_millis()).unwrap_or(u64::MAX) / 3;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(most / 2..=most))).await;
    }

    /// Waits a random time, longer on a slow registry.
    async fn back_off(&self) {
        let most = u64::try_from(self.slowest.as_millis()).unwrap_or(u64::MAX).clamp(20, 500) * 4;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=most))).await;
    }
}

/// The entries of `wanted` that an index lacks.
fn missing(wanted: &[Descriptor], index: &Index) -> Vec<Descriptor> {
    let has = |digest: &Digest| index.manifests.iter().any(|entry| entry.digest == *digest);
    wanted.iter().filter(|entry| !has(&entry.digest)).cloned().collect()
}

/// Takes a deleted referrer out of the index under the fallback tag, where the registry keeps one;
/// says whether it was there.
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
        // What lies there is no list: nothing was in it.
        Err(Error::CannotKeep { .. }) => Ok(false),
        outcome => outcome,
    }
}
