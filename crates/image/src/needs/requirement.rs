//! The driver requirements in an image's configuration.
//!
//! Source: the environment variables of NVIDIA's container runtime (libnvidia-container,
//! nvidia-container-toolkit).

use crate::config::Config;
use compat_loader::spec::Requirement;

/// Returns the requirements in the environment of an image. An image without a GPU (`NVIDIA_VISIBLE_DEVICES`
/// absent, empty, `void` or `none`) has none.
pub(super) fn requirements(config: &Config) -> Vec<Requirement> {
    let visible = config.variable("NVIDIA_VISIBLE_DEVICES").unwrap_or_default();
    if matches!(visible, "" | "void" | "none") {
        return Vec::new();
    }
    let mut requirements = Vec::new();
    let is_disabled =
        matches!(config.variable("NVIDIA_DISABLE_REQUIRE"), Some("1" | "true" | "TRUE" | "True"));
    if !is_disabled {
        let mut variables: Vec<&str> =
            config.env.iter().filter_map(|entry| entry.split_once('=')).map(|(name, _)| name).collect();
        variables.sort_unstable();
        variables.dedup();
        for variable in variables.into_iter().filter(|name| name.starts_with("NVIDIA_REQUIRE_")) {
            let constraint = config.variable(variable).unwrap_or_default().trim().to_owned();
            if !constraint.is_empty() {
                requirements
                    .push(Requirement::NvidiaConstraint { variable: variable.to_owned(), constraint });
            }
        }
    }
    // The runtime's defaults if the variable is not set.
    let capabilities = config.variable("NVIDIA_DRIVER_CAPABILITIES").filter(|list| !list.is_empty());
    let capabilities = match capabilities.unwrap_or("utility,compute") {
        "all" => "compute,graphics,utility,video",
        list => list,
    };
    let mut capabilities: Vec<&str> =
        capabilities.split(',').map(str::trim).filter(|c| !c.is_empty()).collect();
    capabilities.sort_unstable();
    capabilities.dedup();
    let capability = |name: &str| Requirement::NvidiaCapability { capability: name.to_owned() };
    requirements.extend(capabilities.into_iter().map(capability));
    requirements
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(env: &[&str]) -> Vec<String> {
        let env = env.iter().map(|entry| (*entry).to_owned()).collect();
        let config = Config { env, ..Config::default() };
        let shown = |requirement: Requirement| match requirement {
            Requirement::NvidiaConstraint { variable, constraint } => format!("{variable}: {constraint}"),
            Requirement::NvidiaCapability { capability } => capability,
            Requirement::Unknown => "unknown".to_owned(),
        };
        requirements(&config).into_iter().map(shown).collect()
    }

    #[test]
    fn constraints_and_capabilities_are_those_of_the_environment() {
        let env = [
            "NVIDIA_VISIBLE_DEVICES=all",
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
            "NVIDIA_REQUIRE_CUDA=cuda>=12.2 brand=tesla,driver>=470,driver<471",
        ];
        let expected =
            ["NVIDIA_REQUIRE_CUDA: cuda>=12.2 brand=tesla,driver>=470,driver<471", "compute", "utility"];
        assert_eq!(of(&env), expected);
    }

    #[test]
    fn an_image_that_asks_for_no_gpu_requires_nothing() {
        assert!(of(&["NVIDIA_REQUIRE_CUDA=cuda>=12.2"]).is_empty());
        assert!(of(&["NVIDIA_VISIBLE_DEVICES=void", "NVIDIA_REQUIRE_CUDA=cuda>=12.2"]).is_empty());
        let disabled =
            ["NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DISABLE_REQUIRE=1", "NVIDIA_REQUIRE_CUDA=cuda>=9"];
        assert_eq!(of(&disabled), ["compute", "utility"]);
    }
}
