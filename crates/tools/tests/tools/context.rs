//! The rig of the tests: a separate project for each test, and its tools.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use agent_team_tools::secret::Secrets;
use agent_team_tools::{
    Options, Output, Permission, SeenFiles, Tool, ToolContext, ToolError, domain_tools,
};
use serde_json::Value;
use tempfile::TempDir;

/// The largest result for the model in these tests.
pub(crate) const OUTPUT_MAX: usize = 8 << 10;

pub(crate) struct Rig {
    pub(crate) context: ToolContext,
    pub(crate) tools: Vec<Box<dyn Tool>>,
    /// The output that the user was shown.
    pub(crate) shown: Mutex<String>,
    /// The directory that contains the project, the stored outputs and files outside both.
    pub(crate) directory: TempDir,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let (project, outputs) = (root.join("project"), root.join("outputs"));
        for path in [&project, &outputs] {
            std::fs::create_dir(path).unwrap();
        }
        let launch = directory.path().file_name().unwrap().to_owned();
        let env = vec![
            ("PATH".into(), std::env::var_os("PATH").unwrap()),
            ("HOME".into(), root.into()),
            ("AGENT_TEAM_LAUNCH".into(), launch),
        ];
        Rig {
            context: ToolContext {
                cwd: project.clone(),
                project,
                env,
                secrets: Secrets::default(),
                outputs,
                output_max: OUTPUT_MAX,
                seen: SeenFiles::default(),
                guard: Default::default(),
                notes: Default::default(),
                model: "openai/m".to_owned(),
                media: Default::default(),
            },
            tools: domain_tools(Options {
                permission: Permission::Bypass,
                confinement: None,
                private_addresses: true,
            }),
            shown: Mutex::new(String::new()),
            directory,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.context.project.join(name)
    }

    pub(crate) fn outside(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn content(&self, name: &str) -> String {
        String::from_utf8(std::fs::read(self.path(name)).unwrap()).unwrap()
    }

    pub(crate) fn tool(&self, name: &str) -> &dyn Tool {
        let tool = self.tools.iter().find(|tool| tool.spec().name == name);
        tool.unwrap().as_ref()
    }

    pub(crate) async fn call(&self, tool: &str, input: Value) -> Result<Output, ToolError> {
        let shown = |text: &str| self.shown.lock().unwrap().push_str(text);
        self.tool(tool).run(input, &self.context, &shown).await
    }

    /// The result of a successful call.
    pub(crate) async fn text(&self, tool: &str, input: Value) -> String {
        let output = self.call(tool, input).await.unwrap();
        assert!(output.text.len() <= OUTPUT_MAX, "{}", output.text.len());
        output.text
    }

    /// The error of a failed call.
    pub(crate) async fn refusal(&self, tool: &str, input: Value) -> String {
        self.call(tool, input).await.unwrap_err().to_string()
    }

    pub(crate) fn env(&self, name: &str) -> OsString {
        let variable = self.context.env.iter().find(|(key, _)| key == name);
        variable.unwrap().1.clone()
    }
}

pub(crate) fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}
