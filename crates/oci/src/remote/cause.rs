//! The reason for a missing response, in plain words: name resolution, certificates, connections. The debug
//! output of libraries (`Query { name: … }`, `CertificateError`) is not shown.

use std::error::Error as StdError;
use std::fmt::Write as _;

use rustls::CertificateError;
use rustls::pki_types::UnixTime;

/// Causes that add no information.
const OUTER_CAUSES: &[&str] = &["error sending request", "client error (", "tcp connect error"];

/// Returns whether the connection broke. It returns false if there was no connection.
pub(super) fn is_transient(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            if matches!(error.kind(), ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof) {
                return true;
            }
        }
        cause = error.source();
    }
    !(error.is_connect() || error.is_builder() || error.is_timeout())
}

/// Returns the causes of an error in one line without repetition.
pub(crate) fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(text) = certificate_fault(error) {
            return text;
        }
        let text = error.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        cause = error.source();
    }
    while parts.len() > 1 && OUTER_CAUSES.iter().any(|outer| parts[0].starts_with(outer)) {
        parts.remove(0);
    }
    let text = parts.join(": ");
    if text.contains("InvalidContentType") {
        return "it does not answer with TLS".to_owned();
    }
    resolution_fault(&text).map_or(text, str::to_owned)
}

/// Returns the reason if a host name could not be resolved, otherwise `None`.
fn resolution_fault(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    if !(lower.contains("dns error") || lower.contains("resolving dns")) {
        return None;
    }
    Some(match () {
        () if lower.contains("no record") || lower.contains("nxdomain") => {
            "its name cannot be resolved: DNS has no address for it"
        }
        () if lower.contains("timed out") || lower.contains("timeout") => {
            "its name cannot be resolved: DNS did not answer in time"
        }
        () if lower.contains("refused")
            || lower.contains("no connections")
            || lower.contains("unreachable") =>
        {
            "its name cannot be resolved: no name server could be reached"
        }
        () => "its name cannot be resolved: DNS failed",
    })
}

/// Returns the fault of the other side's certificate, if that is the cause.
fn certificate_fault(error: &(dyn StdError + 'static)) -> Option<String> {
    // The source of an I/O error skips its inner error, so the inner error is read in this way.
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
    if let Some(inner) = wrapped {
        return certificate_fault(inner);
    }
    let Some(rustls::Error::InvalidCertificate(fault)) = error.downcast_ref::<rustls::Error>() else {
        return None;
    };
    Some(describe(fault))
}

fn describe(fault: &CertificateError) -> String {
    match fault {
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            let (now, end) = (date(*time), date(*not_after));
            format!("its certificate expired on {end} (the clock of this machine: {now})")
        }
        CertificateError::NotValidYet => "its certificate is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => {
            let (now, start) = (date(*time), date(*not_before));
            format!("its certificate is not valid before {start} (the clock of this machine: {now})")
        }
        CertificateError::NotValidForName => "its certificate is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<String> = presented.iter().map(|name| bare(name)).collect();
            let names =
                if names.is_empty() { "no name".to_owned() } else { crate::format::text::listed(&names) };
            format!("its certificate is for {names}, not for {}", expected.to_str())
        }
        CertificateError::UnknownIssuer => {
            "its certificate is signed by an authority that is not trusted here (UnknownIssuer)".to_owned()
        }
        CertificateError::Revoked => "its certificate has been revoked".to_owned(),
        other => {
            let text = format!("{other:?}");
            if text.contains("CaUsedAsEndEntity") {
                return "its certificate belongs to an authority (CA:TRUE), not to a server".to_owned();
            }
            let mut words = String::from("its certificate was rejected: ");
            let _ = write!(words, "{}", crate::format::text::shown(&text, 100));
            words
        }
    }
}

/// Returns `localhost` for `DnsName("localhost")`.
fn bare(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"').to_owned()
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => format!("second {seconds} since 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn a_certificate_is_described_with_its_dates_and_names() {
        let wrapped = |fault| {
            let inner = rustls::Error::InvalidCertificate(fault);
            causes(&std::io::Error::other(std::io::Error::new(std::io::ErrorKind::InvalidData, inner)))
        };
        let expired =
            CertificateError::ExpiredContext { time: at(1_800_000_000), not_after: at(1_700_000_000) };
        insta::assert_snapshot!(wrapped(expired), @"its certificate expired on 2023-11-14 22:13 UTC (the clock of this machine: 2027-01-15 08:00 UTC)");
        let early = CertificateError::NotValidYetContext { time: at(0), not_before: at(86_400) };
        insta::assert_snapshot!(wrapped(early), @"its certificate is not valid before 1970-01-02 00:00 UTC (the clock of this machine: 1970-01-01 00:00 UTC)");
        let name = CertificateError::NotValidForNameContext {
            expected: "registry.site".try_into().unwrap(),
            presented: vec!["DnsName(\"other.example\")".into(), "IpAddress(10.1.2.3)".into()],
        };
        insta::assert_snapshot!(wrapped(name), @"its certificate is for other.example, 10.1.2.3, not for registry.site");
        insta::assert_snapshot!(wrapped(CertificateError::UnknownIssuer), @"its certificate is signed by an authority that is not trusted here (UnknownIssuer)");
    }

    #[test]
    fn a_name_that_does_not_resolve_is_told_without_the_librarys_debug_text() {
        let cause = |text: &str| causes(&std::io::Error::other(text));
        let none = "dns error: error resolving DNS: DNS error: no records found for Query { name: Name(\"h.\"), query_type: AAAA, query_class: IN }";
        insta::assert_snapshot!(cause(none), @"its name cannot be resolved: DNS has no address for it");
        insta::assert_snapshot!(cause("dns error: request timed out"), @"its name cannot be resolved: DNS did not answer in time");
        insta::assert_snapshot!(cause("dns error: no connections available"), @"its name cannot be resolved: no name server could be reached");
        insta::assert_snapshot!(cause("connection refused"), @"connection refused");
        insta::assert_snapshot!(cause("received corrupt message of type InvalidContentType"), @"it does not answer with TLS");
    }
}
