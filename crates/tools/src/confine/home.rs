//! The part of the home directory that a sandboxed command can read. Called by [`super::Confinement`] for each command.
//!
//! The home directory is hidden except for a list of toolchains, package caches and git's settings: a list of secrets
//! would never be complete. The user extends the list with `[sandbox] readable` in `config.toml`.
//!
//! If the home directory cannot be hidden (the project contains it, or the user made it readable), known secrets are
//! hidden instead.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use agent_team_policy::CallPath;

use super::settings::Settings;

/// Readable paths below the home directory: programs and caches needed to build and run.
const READABLE: [&str; 100] = [
    ".asdf",
    ".bun",
    ".cabal",
    ".cache/Cypress",
    ".cache/bazelisk",
    ".cache/ccache",
    ".cache/composer",
    ".cache/coursier",
    ".cache/deno",
    ".cache/electron",
    ".cache/fontconfig",
    ".cache/go-build",
    ".cache/golangci-lint",
    ".cache/mise",
    ".cache/ms-playwright",
    ".cache/node",
    ".cache/node-gyp",
    ".cache/pip",
    ".cache/pnpm",
    ".cache/pre-commit",
    ".cache/puppeteer",
    ".cache/pypoetry",
    ".cache/sccache",
    ".cache/typescript",
    ".cache/uv",
    ".cache/yarn",
    ".cache/zig",
    ".cargo",
    ".clang-format",
    ".composer/vendor",
    ".conan2/p",
    ".config/composer/vendor",
    ".config/git",
    ".config/nextest",
    ".config/rustfmt",
    ".deno",
    ".dotnet",
    ".editorconfig",
    ".elan",
    ".fnm",
    ".gem",
    ".ghcup",
    ".gitattributes",
    ".gitconfig",
    ".gitignore",
    ".gitignore_global",
    ".go",
    ".gradle",
    ".hex/packages",
    ".ivy2/cache",
    ".jenv",
    ".julia",
    ".linuxbrew",
    ".local/bin",
    ".local/lib",
    ".local/pipx",
    ".local/share/cargo",
    ".local/share/coursier",
    ".local/share/dotnet",
    ".local/share/fnm",
    ".local/share/fonts",
    ".local/share/gem",
    ".local/share/go",
    ".local/share/mise",
    ".local/share/nvm",
    ".local/share/pipx",
    ".local/share/pnpm",
    ".local/share/pypoetry",
    ".local/share/rtx",
    ".local/share/rustup",
    ".local/share/uv",
    ".local/share/virtualenv",
    ".local/share/virtualenvs",
    ".local/state/nix/profiles",
    ".m2",
    ".mise",
    ".mix",
    ".nix-profile",
    ".nodenv",
    ".npm",
    ".nuget/packages",
    ".nvm",
    ".opam",
    ".proto",
    ".pub-cache",
    ".pyenv",
    ".rbenv",
    ".rustup",
    ".rvm",
    ".sbt/boot",
    ".sdkman",
    ".stack",
    ".swiftpm",
    ".tool-versions",
    ".volta",
    ".yarn",
    "anaconda3",
    "go",
    "miniconda3",
    "miniforge3",
];

/// Secret paths below the home directory: credentials and histories. Hidden even within readable directories.
const SECRET: [&str; 87] = [
    ".1password",
    ".anthropic",
    ".aws",
    ".azure",
    ".bash_history",
    ".boto",
    ".cabal/config",
    ".cache/huggingface",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".claude",
    ".claude.json",
    ".codex",
    ".composer/auth.json",
    ".config/1Password",
    ".config/BraveSoftware",
    ".config/chromium",
    ".config/composer/auth.json",
    ".config/containers/auth.json",
    ".config/gcloud",
    ".config/gh",
    ".config/git/credentials",
    ".config/github-copilot",
    ".config/glab-cli",
    ".config/google-chrome",
    ".config/hub",
    ".config/microsoft-edge",
    ".config/op",
    ".config/opencode",
    ".config/pip",
    ".config/pypoetry",
    ".config/rclone",
    ".config/sops",
    ".config/vivaldi",
    ".continue",
    ".copilot",
    ".cursor",
    ".docker",
    ".dotnet/corefx",
    ".gem/credentials",
    ".gemini",
    ".git-credentials",
    ".gnupg",
    ".gradle/gradle.properties",
    ".gradle/init.d",
    ".gradle/init.gradle",
    ".huggingface",
    ".julia/servers",
    ".kube",
    ".local/share/fish/fish_history",
    ".local/share/gem/credentials",
    ".local/share/cargo/credentials.toml",
    ".local/share/keyrings",
    ".local/share/opencode",
    ".local/share/uv/credentials",
    ".m2/settings-security.xml",
    ".m2/settings.xml",
    ".mongorc.js",
    ".mozilla",
    ".my.cnf",
    ".mysql_history",
    ".netrc",
    ".node_repl_history",
    ".npmrc",
    ".oci",
    ".password-store",
    ".pgpass",
    ".pki",
    ".psql_history",
    ".pub-cache/credentials.json",
    ".pypirc",
    ".python_history",
    ".qwen",
    ".s3cfg",
    ".snowsql",
    ".ssh",
    ".step",
    ".swiftpm/security",
    ".terraform.d",
    ".terraformrc",
    ".thunderbird",
    ".var/app",
    ".vault-token",
    ".yarnrc.yml",
    ".zsh_history",
    "Library/Keychains",
    "snap",
];

/// The user's variables that contain the directory of a toolchain. The directory is readable if it is below the home
/// directory.
const TOOLCHAINS: [&str; 18] = [
    "ANDROID_HOME",
    "BUNDLE_PATH",
    "CARGO_HOME",
    "CONDA_PREFIX",
    "DOTNET_ROOT",
    "GEM_HOME",
    "GOBIN",
    "GOCACHE",
    "GOMODCACHE",
    "GOPATH",
    "GOROOT",
    "JAVA_HOME",
    "NVM_DIR",
    "PNPM_HOME",
    "PYENV_ROOT",
    "RBENV_ROOT",
    "RUSTUP_HOME",
    "VIRTUAL_ENV",
];

/// The user's variables that contain the path of a secret. The secret is hidden at any path.
const SECRET_VARIABLES: [&str; 16] = [
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AZURE_CONFIG_DIR",
    "CLAUDE_CONFIG_DIR",
    "CLOUDSDK_CONFIG",
    "CODEX_HOME",
    "DOCKER_CONFIG",
    "GH_CONFIG_DIR",
    "GNUPGHOME",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "KUBECONFIG",
    "NETRC",
    "PGPASSFILE",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
];

/// System files that usually only root can read. Hidden if the worker can read them.
const OF_ROOT: [&str; 8] = [
    "/etc/NetworkManager/system-connections",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/ssl/private",
    "/etc/sudoers",
    "/run/secrets",
];

/// A directory that is or contains one of these directories is never hidden: otherwise no program would start.
const SYSTEM: [&str; 10] = [
    "/bin", "/dev", "/etc", "/lib", "/lib64", "/nix", "/proc", "/sbin", "/sys", "/usr",
];

/// The largest number of links to follow from one path.
const LINKS_MAX: usize = 16;

/// Hidden paths, and paths that are readable even within a hidden path. All paths are absolute. Only `links` contains
/// links.
#[derive(Debug, Default)]
pub(super) struct PathVisibility {
    pub(super) hidden: Vec<PathBuf>,
    pub(super) readable: Vec<PathBuf>,
    /// Links within hidden directories, with their targets.
    pub(super) links: Vec<(PathBuf, PathBuf)>,
}

/// The home directories and the user's settings for them.
#[derive(Debug, Clone, Default)]
pub struct User {
    /// The canonical home directories: the one of the user's account, and `HOME` of this process and of `environment`
    /// if they differ.
    pub homes: Vec<PathBuf>,
    /// The user's own variables, without the variables of a team file.
    pub environment: Vec<(OsString, OsString)>,
    /// `[sandbox] readable`: absolute paths.
    pub readable: Vec<PathBuf>,
    pub settings: Settings,
}

impl User {
    /// The user of this process. `environment` is the user's own environment.
    pub fn new(environment: Vec<(OsString, OsString)>, settings: &Settings) -> User {
        let of_environment = environment.iter().find(|(name, _)| name == "HOME");
        let homes = [
            agent_team_system::directories::user_home(),
            std::env::var_os("HOME").map(PathBuf::from),
            of_environment.map(|(_, home)| PathBuf::from(home)),
        ];
        let homes: BTreeSet<PathBuf> = homes
            .into_iter()
            .flatten()
            .filter(|home| home.is_absolute())
            .filter_map(|home| home.canonicalize().ok())
            .collect();
        let homes: Vec<PathBuf> = homes.into_iter().collect();
        User {
            readable: settings.readable(&homes),
            homes,
            environment,
            settings: settings.clone(),
        }
    }

    pub(super) fn variable(&self, name: &str) -> Option<&OsStr> {
        let mut known = self.environment.iter();
        let (_, value) = known.find(|(known, _)| known == name)?;
        Some(value)
    }

    /// Computes the visibility from the current files. `writable`: the project and other paths that commands can
    /// change. A link in them is not followed, because a command may have created it.
    pub(super) fn view(&self, writable: &[PathBuf]) -> PathVisibility {
        let mut view = PathVisibility::default();
        let homes: Vec<&PathBuf> = self.homes.iter().filter(|home| !is_system(home)).collect();
        let covered = |path: &Path| writable.iter().any(|writable| path.starts_with(writable));
        for home in homes.iter().filter(|home| !covered(home)) {
            view.hidden.push((*home).clone());
            let named = READABLE.iter().map(|name| home.join(name));
            for path in named.chain(self.toolchains(home)) {
                expose(&mut view, path, &self.homes, writable);
            }
        }
        for path in &self.readable {
            // The user's settings may expose even a home directory.
            expose(&mut view, path.clone(), &[], writable);
        }
        for home in &homes {
            let secrets = SECRET.iter().map(|name| home.join(name));
            let shown = |secret: &PathBuf| {
                let mut shown = view.readable.iter().chain(writable);
                shown.any(|shown| secret.starts_with(shown) && secret != shown)
            };
            let secrets: Vec<PathBuf> = secrets
                .filter(shown)
                .filter_map(|secret| secret.canonicalize().ok())
                .filter(|secret| !view.readable.contains(secret))
                .collect();
            view.hidden.extend(secrets);
        }
        view.hidden.extend(self.other_secrets());
        let in_hidden = |link: &Path| {
            let is_below = |paths: &[PathBuf]| paths.iter().any(|path| link.starts_with(path));
            is_below(&view.hidden) && !is_below(&view.readable)
        };
        view.links.retain(|(link, _)| in_hidden(link));
        view
    }

    /// Directories below this home directory that the user's variables name, without secrets: `PATH` entries and
    /// toolchains.
    fn toolchains(&self, home: &Path) -> impl Iterator<Item = PathBuf> {
        let path = self.variable("PATH").unwrap_or_default();
        let named = TOOLCHAINS.iter().filter_map(|name| self.variable(name));
        let named = named.flat_map(std::env::split_paths);
        let is_secret = |path: &Path| {
            let mut secrets = SECRET.iter().map(|name| home.join(name));
            secrets.any(|secret| path.starts_with(secret))
        };
        let all = std::env::split_paths(path).chain(named);
        all.filter(move |path| path.starts_with(home) && path != home && !is_secret(path))
    }

    /// Secrets that the user's variables name, and readable secrets of root.
    fn other_secrets(&self) -> Vec<PathBuf> {
        let named = SECRET_VARIABLES
            .iter()
            .filter_map(|name| self.variable(name));
        let cargo = self.variable("CARGO_HOME").map(PathBuf::from);
        let credentials = ["credentials", "credentials.toml"];
        let cargo = cargo.map(|cargo| credentials.map(|name| cargo.join(name)));
        let named = named
            .flat_map(std::env::split_paths)
            .chain(cargo.into_iter().flatten())
            .filter(|path| path.is_absolute());
        let keys = fs::read_dir("/etc/ssh").into_iter().flatten().flatten();
        let keys = keys.map(|entry| entry.path()).filter(|path| {
            let name = path.to_string_lossy();
            name.ends_with("_key")
        });
        let of_root = OF_ROOT.iter().map(PathBuf::from).chain(keys);
        // An unreadable file needs no mount.
        let of_root = of_root.filter(|path| fs::File::open(path).is_ok());
        let readable = |path: &PathBuf| !self.readable.contains(path);
        named
            .chain(of_root)
            .filter_map(|path| path.canonicalize().ok())
            .filter(|path| !is_system(path) && !self.homes.contains(path) && readable(path))
            .collect()
    }
}

/// Returns whether a directory is or contains one of [`SYSTEM`].
pub(super) fn is_system(directory: &Path) -> bool {
    let mut system = SYSTEM.iter().map(Path::new);
    system.any(|system| system.starts_with(directory))
}

/// Exposes a path and the links that lead to it. Exposes nothing if the path or a link on it is in `writable`, where a
/// command could have created it, or if the resolved path contains a path of `never` or of the system.
fn expose(view: &mut PathVisibility, mut path: PathBuf, never: &[PathBuf], writable: &[PathBuf]) {
    let mut links = Vec::new();
    for _ in 0..LINKS_MAX {
        if writable.iter().any(|writable| path.starts_with(writable)) {
            return;
        }
        let Some((link, target)) = first_link(&path) else {
            let contains_never = never.iter().any(|never| never.starts_with(&path));
            if path.exists() && !contains_never && !is_system(&path) {
                view.links.extend(links);
                view.readable.push(path);
            }
            return;
        };
        let rest = path.strip_prefix(&link).unwrap_or(Path::new(""));
        let resolved = link.parent().unwrap_or(Path::new("/")).join(&target);
        path = CallPath::lexical(&resolved, rest);
        links.push((link, target));
    }
}

/// The first link on a path, counted from the root, and its target.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut ancestors: Vec<&Path> = path.ancestors().collect();
    ancestors.reverse();
    ancestors.into_iter().find_map(|ancestor| {
        let target = fs::read_link(ancestor).ok()?;
        Some((ancestor.to_owned(), target))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_root_are_hidden() {
        let hidden = User::default().view(&[]).hidden;
        for secret in ["/etc/NetworkManager/system-connections", "/etc/ssl/private"] {
            assert!(OF_ROOT.contains(&secret), "{secret}");
            let is_readable = fs::File::open(secret).is_ok();
            let resolved = Path::new(secret).canonicalize().ok();
            let is_hidden = resolved.is_some_and(|secret| hidden.contains(&secret));
            assert_eq!(is_hidden, is_readable, "{secret}");
        }
    }
}
