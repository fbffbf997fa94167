//! The list of the built-in tools. Called once per launch of a native member.

use std::sync::Arc;

use crate::confine::Confinement;
use crate::permission::Permission;
use crate::tool::Tool;
use crate::{apply_patch, bash, edit, fetch, git, glob, grep, notes, read, todo, write};

/// The permissions and the sandbox of one member's built-in tools.
#[derive(Debug, Clone)]
pub struct Options {
    pub permission: Permission,
    /// The sandbox of commands that do not request to run outside it. `None`: commands run without a sandbox.
    pub confinement: Option<Arc<Confinement>>,
    /// Whether `fetch` may connect to this machine and its local network.
    pub private_addresses: bool,
}

/// Creates the built-in tools of one member. Tools keep per-member state, so members must not share them.
pub fn domain_tools(options: Options) -> Vec<Box<dyn Tool>> {
    let Options {
        permission,
        confinement,
        private_addresses,
    } = options;
    let mut tools = vec![
        read::read(permission.clone()),
        write::write(permission.clone()),
        edit::edit(permission.clone()),
        apply_patch::apply_patch(permission.clone()),
        glob::glob(),
        grep::grep(permission.clone()),
    ];
    tools.extend(git::tools(permission.clone(), confinement.clone()));
    tools.push(todo::todo());
    tools.push(notes::notes());
    tools.push(notes::note(permission.clone()));
    tools.extend(bash::tools(permission.clone(), confinement));
    tools.push(fetch::fetch(permission, private_addresses));
    tools
}
