//! Reads the kubeconfig as kubectl does, and names a credential plugin that fails.

use std::{
    env,
    path::{Path, PathBuf},
};

use kube::{
    client::AuthError,
    config::{ExecConfig, Kubeconfig, KubeconfigError},
};

/// Returns the merged files of `KUBECONFIG`, or else `~/.kube/config`. As with kubectl, a file of the list need not
/// exist if another one does, and a relative path of a credential plugin is relative to the directory of its file.
///
/// # Errors
///
/// Fails if there is no file, or one cannot be read.
pub fn kubeconfig() -> Result<Kubeconfig, KubeconfigError> {
    let listed = env::var_os("KUBECONFIG").unwrap_or_default();
    let mut paths: Vec<_> = env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect();
    if paths.is_empty() {
        paths.push(env::home_dir().ok_or(KubeconfigError::FindPath)?.join(".kube/config"));
    }
    read(&paths)
}

/// Reads and merges the files.
fn read(paths: &[PathBuf]) -> Result<Kubeconfig, KubeconfigError> {
    let present: Vec<_> = paths.iter().filter(|path| path.exists()).collect();
    // If no file exists, reading the first one gives the error.
    let read = if present.is_empty() { paths.iter().take(1).collect() } else { present };
    read.into_iter().try_fold(Kubeconfig::default(), |merged, path| merged.merge(read_file(path)?))
}

fn read_file(path: &Path) -> Result<Kubeconfig, KubeconfigError> {
    let mut file = Kubeconfig::read_from(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let users = file.auth_infos.iter_mut().filter_map(|user| user.auth_info.as_mut());
    for command in users.filter_map(|user| user.exec.as_mut()?.command.as_mut()) {
        // A name without a folder is looked up in PATH.
        if command.contains('/') && Path::new(command).is_relative() {
            *command = folder.join(&*command).to_string_lossy().into_owned();
        }
    }
    Ok(file)
}

/// Describes a credential plugin that cannot be run or that fails: its command, and the install hint of the kubeconfig.
pub fn describe_plugin_error(error: &kube::Error, plugin: Option<&ExecConfig>) -> Option<String> {
    let kube::Error::Auth(error) = error else { return None };
    let plugin = plugin?;
    let command = plugin.command.as_deref()?;
    let cause = match error {
        AuthError::AuthExecStart(error) => error.to_string(),
        AuthError::AuthExecRun { status, out, .. } => {
            let output = String::from_utf8_lossy(&out.stderr);
            let last = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            format!("{status}: {}", last.trim())
        }
        _ => return None,
    };
    let hint =
        plugin.install_hint.as_deref().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    let hint = if hint.is_empty() { hint } else { format!("; {hint}") };
    Some(format!("running the credential plugin {command:?} of the kubeconfig failed: {cause}{hint}"))
}

#[cfg(test)]
mod tests {
    use std::{fs, slice};

    use super::*;

    const GOOD: &str = r#"{
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "me", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1",
            "command": "bin/plugin"}}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}]
    }"#;

    #[test]
    fn missing_file_is_skipped_and_relative_plugin_path_is_resolved() {
        let folder = tempfile::tempdir().unwrap();
        let (missing, good) = (folder.path().join("missing"), folder.path().join("good"));
        fs::write(&good, GOOD).unwrap();
        let config = read(&[missing.clone(), good]).unwrap();
        assert_eq!(config.current_context.as_deref(), Some("here"));
        let exec = config.auth_infos[0].auth_info.as_ref().unwrap().exec.as_ref().unwrap();
        assert_eq!(exec.command.as_deref(), folder.path().join("bin/plugin").to_str());
        let error = read(slice::from_ref(&missing)).unwrap_err();
        assert!(matches!(error, KubeconfigError::ReadConfig(_, path) if path == missing));
    }
}
