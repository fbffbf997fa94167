//! The allow-list of environment variables: an agent's tools receive them even if the configuration does not name them.
//! Called by `launch`.
//!
//! A user's environment contains values that a model must not see: access keys, tokens, database URLs. The list
//! therefore contains only variables that programs need to find files and proxies, for the locale, for commits and for
//! builds. Any other variable must be named explicitly.

/// Variables of paths of programs, homes, caches and proxies, of the locale, and of build settings.
const NAMES: [&str; 89] = [
    "ALL_PROXY",
    "ANDROID_HOME",
    "AR",
    "ARCHFLAGS",
    "AS",
    "BUNDLE_PATH",
    "CARGO_BUILD_JOBS",
    "CARGO_HOME",
    "CARGO_INCREMENTAL",
    "CARGO_TARGET_DIR",
    "CC",
    "CFLAGS",
    "CGO_ENABLED",
    "CI",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "CMAKE_PREFIX_PATH",
    "COLORTERM",
    "CONDA_DEFAULT_ENV",
    "CONDA_PREFIX",
    "CPATH",
    "CPPFLAGS",
    "CXX",
    "CXXFLAGS",
    "C_INCLUDE_PATH",
    "DEBIAN_FRONTEND",
    "DEVELOPER_DIR",
    "DOTNET_ROOT",
    "FORCE_COLOR",
    "GEM_HOME",
    "GEM_PATH",
    "GIT_AUTHOR_EMAIL",
    "GIT_AUTHOR_NAME",
    "GIT_COMMITTER_EMAIL",
    "GIT_COMMITTER_NAME",
    "GOARCH",
    "GOBIN",
    "GOCACHE",
    "GOFLAGS",
    "GOMODCACHE",
    "GOOS",
    "GOPATH",
    "GOROOT",
    "GRADLE_USER_HOME",
    "HOME",
    "HOMEBREW_PREFIX",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "JAVA_HOME",
    "LANG",
    "LANGUAGE",
    "LD",
    "LDFLAGS",
    "LD_LIBRARY_PATH",
    "LIBRARY_PATH",
    "LOGNAME",
    "MAKEFLAGS",
    "MANPATH",
    "NODE_ENV",
    "NODE_PATH",
    "NO_COLOR",
    "NO_PROXY",
    "NVM_DIR",
    "PATH",
    "PKG_CONFIG_PATH",
    "PNPM_HOME",
    "PYENV_ROOT",
    "PYTHONPATH",
    "RBENV_ROOT",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "SDKROOT",
    "SHELL",
    "SOURCE_DATE_EPOCH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "USER",
    "VIRTUAL_ENV",
    "ZDOTDIR",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Prefixes of further allowed variables.
const PREFIXES: [&str; 2] = ["LC_", "XDG_"];

pub(crate) fn is_allowed(name: &str) -> bool {
    NAMES.binary_search(&name).is_ok() || PREFIXES.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_settings_are_allowed_and_credentials_are_not() {
        assert!(NAMES.is_sorted());
        for name in ["PATH", "HOME", "LC_ALL", "CARGO_HOME", "XDG_CACHE_HOME"] {
            assert!(is_allowed(name), "{name}");
        }
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "GITHUB_TOKEN",
            "DATABASE_URL",
            "SSH_AUTH_SOCK",
            "DBUS_SESSION_BUS_ADDRESS",
            "DOCKER_HOST",
            "BASH_ENV",
            "AGENT_TEAM_HOME",
        ] {
            assert!(!is_allowed(name), "{name}");
        }
    }
}
