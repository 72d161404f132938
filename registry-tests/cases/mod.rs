//! The cases, one file for each theme.

mod attach;
mod attach_again;
mod binary;
mod cache;
mod copy;
mod credential;
mod directory;
mod docker_image;
mod document;
mod example_ci;
mod example_manifest;
mod example_node;
mod example_prolog;
mod example_record;
mod example_spindle;
mod fault;
mod foreign_root;
mod harness_works;
mod host_library;
mod hostile_image;
mod image;
mod input;
mod json_output;
mod layer_end;
mod made_image;
mod main_job;
mod platform;
mod quirk;
mod recorded_image;
mod recorded_run;
mod recorded_search;
mod recorder_rights;
mod recording;
mod request;
mod round_trip;
mod secure_transport;
mod started_image;
mod token;
mod transport;
mod tree;
mod unusable;
mod witness;

use crate::harness::Case;

/// All cases of all themes.
pub fn all() -> Vec<Case> {
    [
        harness_works::cases(),
        binary::cases(),
        input::cases(),
        directory::cases(),
        unusable::cases(),
        round_trip::cases(),
        attach::cases(),
        attach_again::cases(),
        witness::cases(),
        platform::cases(),
        foreign_root::cases(),
        recorder_rights::cases(),
        recording::cases(),
        request::cases(),
        cache::cases(),
        copy::cases(),
        credential::cases(),
        token::cases(),
        secure_transport::cases(),
        fault::cases(),
        quirk::cases(),
        main_job::cases(),
        transport::cases(),
        tree::cases(),
        docker_image::cases(),
        document::cases(),
        example_ci::cases(),
        example_node::cases(),
        example_prolog::cases(),
        example_manifest::cases(),
        example_record::cases(),
        example_spindle::cases(),
        host_library::cases(),
        hostile_image::cases(),
        layer_end::cases(),
        started_image::cases(),
        json_output::cases(),
        made_image::cases(),
        recorded_image::cases(),
        recorded_run::cases(),
        recorded_search::cases(),
        image::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
