//! Scripts as documents list them.

use crate::script::{Body, ParsedScript};
use crate::spec::{Script, ScriptBody};

/// A script at a path as a document lists it. `has_directory` says whether the directory is there that it changes
/// to: if not, nobody knows what it does then.
pub fn listed(path: &str, script: &ParsedScript, has_directory: impl Fn(&str) -> bool) -> Script {
    let mut body = script.body.clone();
    if body.directory.as_deref().is_some_and(|directory| !has_directory(directory)) {
        body = Body::default();
    }
    let is_known = body.is_known();
    let known = ScriptBody {
        command: body.command,
        directory: body.directory,
        variables: body.variables,
        partial: !body.whole,
    };
    Script {
        path: path.to_owned(),
        interpreter: script.interpreter.clone(),
        argument: script.argument.clone(),
        body: is_known.then_some(known),
        not_executable: false,
    }
}

/// What a document says of a script.
pub fn parsed(script: &Script) -> ParsedScript {
    let body = script.body.as_ref().map(|body| Body {
        command: body.command.clone(),
        directory: body.directory.clone(),
        variables: body.variables.clone(),
        whole: !body.partial,
    });
    ParsedScript {
        interpreter: script.interpreter.clone(),
        argument: script.argument.clone(),
        body: body.unwrap_or_default(),
    }
}
