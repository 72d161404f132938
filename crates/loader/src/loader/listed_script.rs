//! Scripts in the form that documents contain.

use crate::script::{Body, ParsedScript};
use crate::spec::{Script, ScriptBody};

/// Returns a script at a path in the form of a document. `has_directory` reports whether the directory exists
/// that the script changes to. If not, the script's further behaviour is unknown.
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

/// Returns the script that a document describes.
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
