//! The Lua scripts: one for each step that must be atomic.
//!
//! They are loaded when a connection opens and called by digest. Each may be sent twice: doing it again changes nothing
//! that the first time has not changed, except for the ids that come out.

use std::{fmt::Write as _, sync::LazyLock};

use redis::{Cmd, Pipeline};
use sha1::{Digest as _, Sha1};

const TOKENS: &str = include_str!("script/tokens.lua");
const HOLDERS: &str = include_str!("script/holders.lua");
const REGISTRY: &str = include_str!("script/registry.lua");

/// A script and the digest that calls it.
pub(crate) struct Script {
    name: &'static str,
    source: String,
    digest: String,
}

/// Every script, by what it does.
pub(crate) struct Scripts {
    pub(crate) prepare: Script,
    pub(crate) acquire: Script,
    pub(crate) refresh: Script,
    pub(crate) fill: Script,
    pub(crate) replace: Script,
    pub(crate) confirm: Script,
    pub(crate) release: Script,
    pub(crate) renew: Script,
    pub(crate) invalidate: Script,
    pub(crate) hold: Script,
    pub(crate) unhold: Script,
    pub(crate) fence: Script,
    pub(crate) adopt: Script,
    pub(crate) reign: Script,
    pub(crate) announce: Script,
    pub(crate) renew_member: Script,
    pub(crate) expel: Script,
}

pub(crate) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts {
    prepare: Script::over_tokens("prepare", include_str!("script/prepare.lua")),
    acquire: Script::over_tokens("acquire", include_str!("script/acquire.lua")),
    refresh: Script::over_tokens("refresh", include_str!("script/refresh.lua")),
    fill: Script::over_tokens("fill", include_str!("script/fill.lua")),
    replace: Script::over_tokens("replace", include_str!("script/replace.lua")),
    confirm: Script::over_tokens("confirm", include_str!("script/confirm.lua")),
    release: Script::over_tokens("release", include_str!("script/release.lua")),
    renew: Script::over_tokens("renew", include_str!("script/renew.lua")),
    invalidate: Script::new("invalidate", include_str!("script/invalidate.lua").to_owned()),
    hold: Script::new("hold", [HOLDERS, include_str!("script/hold.lua")].concat()),
    unhold: Script::new("unhold", [HOLDERS, include_str!("script/unhold.lua")].concat()),
    fence: Script::new("fence", include_str!("script/fence.lua").to_owned()),
    adopt: Script::new("adopt", include_str!("script/adopt.lua").to_owned()),
    reign: Script::new("reign", include_str!("script/reign.lua").to_owned()),
    announce: Script::new("announce", [REGISTRY, include_str!("script/announce.lua")].concat()),
    renew_member: Script::new("renew_member", [REGISTRY, include_str!("script/renew_member.lua")].concat()),
    expel: Script::new("expel", [REGISTRY, include_str!("script/expel.lua")].concat()),
});

impl Script {
    fn new(name: &'static str, source: String) -> Self {
        let mut digest = String::with_capacity(40);
        for byte in Sha1::digest(source.as_bytes()) {
            write!(digest, "{byte:02x}").expect("writing to a String succeeds");
        }
        Self { name, source, digest }
    }

    fn over_tokens(name: &'static str, source: &str) -> Self {
        Self::new(name, [TOKENS, source].concat())
    }

    /// The beginning of a call; the caller appends `keys` key names and then the arguments.
    pub(crate) fn call(&self, keys: usize, bytes: usize) -> Cmd {
        let mut command = Cmd::with_capacity(3 + keys + 5, bytes + 64);
        command.arg("EVALSHA").arg(&self.digest).arg(keys);
        command
    }
}

impl Scripts {
    /// Loads all of them.
    pub(crate) fn load(&self) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(17);
        for script in self.all() {
            pipeline.cmd("SCRIPT").arg("LOAD").arg(&script.source);
        }
        pipeline
    }

    /// What the script is called that has this digest.
    pub(crate) fn name_of(&self, digest: &[u8]) -> Option<&'static str> {
        self.all().into_iter().find(|script| script.digest.as_bytes() == digest).map(|script| script.name)
    }

    fn all(&self) -> [&Script; 17] {
        let Self { prepare, acquire, refresh, fill, replace, confirm, release, .. } = self;
        let Self { renew, invalidate, hold, unhold, fence, adopt, reign, announce, renew_member, expel, .. } = self;
        [
            prepare,
            acquire,
            refresh,
            fill,
            replace,
            confirm,
            release,
            renew,
            invalidate,
            hold,
            unhold,
            fence,
            adopt,
            reign,
            announce,
            renew_member,
            expel,
        ]
    }
}
