//! The ranks of a parallel job, which share one mirror.

use std::path::Path;

use crate::harness::case::{Case, case};
use crate::harness::script::said;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("rank::the_ranks_of_a_job_share_one_mirror", &["unshare"], one_mirror),
        case("rank::a_killed_lead_ends_the_others", &["unshare"], lead_killed),
    ]
}

/// `rank NUMBER COMMAND…` runs a rank as one of three that Open MPI started.
const RANK: &str =
    "mkdir share; export COMPAT_TEST_SHARES=share PMIX_NAMESPACE=job OMPI_COMM_WORLD_LOCAL_SIZE=3
    rank() { number=$1; shift; exec env COMPAT_TEST_TASK=rank OMPI_COMM_WORLD_RANK=$number \
        OMPI_COMM_WORLD_LOCAL_RANK=$number \"$PLAIN\" \"$@\"; }\n";

fn one_mirror(directory: &Path) {
    let script = format!(
        "{RANK} before=$(device share)
        for number in 2 1 0; do
            (rank $number sh -c 'stat -c %d share > '$number'; readlink /proc/self/ns/mnt > namespace-'$number'; exit '$number; echo $?) &
        done; wait; cmp 0 1 && cmp 1 2 && [ $(cat 0) != $before ] && echo one mirror
        cmp namespace-0 namespace-1 && cmp namespace-1 namespace-2 && echo one namespace
        rank 0 sh -c 'exit 7' & zero=$!; rank 1 sh -c 'exit 8' & one=$!; rank 2 sh -c 'exit 9' & two=$!
        wait $zero; echo $?; wait $one; echo $?; wait $two; echo $?; ls run; mirrors"
    );
    let (told, said) = said(directory, &script);
    assert_eq!(told, "one mirror\none namespace\n7\n8\n9\n", "{said}");
}

fn lead_killed(directory: &Path) {
    let script = format!(
        "{RANK} rank 0 sh -c 'echo > ready-0; exec sleep 60' & lead=$!
        for number in 1 2; do (rank $number sh -c 'echo > ready-'$number'; exec sleep 60' 2> said-$number) & pids=\"$pids $!\"; done
        for number in 0 1 2; do wait_for test -e ready-$number; done; kill -9 $lead
        for one in $pids; do wait $one; echo $?; done; cat said-*; mirrors"
    );
    let (told, said) = said(directory, &script);
    assert_eq!(told, "3\n3\nLeadKilled\nLeadKilled\n", "{said}");
}
