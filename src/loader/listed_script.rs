//! Scripts as documents list them.

use crate::script::{Body, ParsedScript};
use crate::spec::{Script, ScriptBody};

/// A script at a path as a document lists it.
pub fn listed(path: &str, script: &ParsedScript) -> Script {
    let body = &script.body;
    let known = ScriptBody {
        command: body.command.clone(),
        directory: body.directory.clone(),
        variables: body.variables.clone(),
        partial: !body.whole,
    };
    Script {
        path: path.to_owned(),
        interpreter: script.interpreter.clone(),
        argument: script.argument.clone(),
        body: body.is_known().then_some(known),
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
