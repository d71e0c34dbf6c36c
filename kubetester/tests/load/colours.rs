//! Colours are printed to terminals, or if the user forces them.

use service::testing::exit_of;

use super::{TOOL, servers::Draws};

#[tokio::test]
async fn pipe_has_colours_only_if_forced() {
    let url = Draws::new(&[("pod-a", 100)], 0).url().await;
    let forced = ("CLICOLOR_FORCE", "1");
    for (env, coloured) in [(&[][..], false), (&[forced], true), (&[forced, ("NO_COLOR", "1")], false)] {
        let exit = exit_of(TOOL, &["load", &url, "-n", "6"], env).await;
        assert_eq!(exit.code, Some(0), "{exit:?}");
        assert_eq!(exit.stdout.contains('\x1b'), coloured, "{env:?}: {}", exit.stdout);
        assert_eq!(exit.stderr, "", "{env:?}: no progress is drawn where nobody looks");
    }
}
