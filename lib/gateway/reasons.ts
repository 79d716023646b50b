/** Why a gateway refused to start or died, as its last words say it: OpenClaw's (2026.9.6), Node's, V8's, dyld's, systemd's.
 * The first row that matches counts. Logs are hostile input: no row leads to more starts than an unknown reason does. */
import type { Verdict } from './treat.ts'

interface Reason {
  pattern: RegExp
  /** Undefined: no verdict of its own; its cause is over when the examination finds nothing else, so a start is right. */
  verdict?: Verdict
  /** It may pass without a repair: a network, a disk, a secret store that came late. */
  mayPass?: true
  /** What a person does about it, as a phrase. */
  advice: string
}

export const OUT_OF_MEMORY =
  /Reached heap limit|JavaScript heap out of memory|result 'oom-kill'|killed by the OOM killer|Out of memory: Killed process|spawn ENOMEM|Cannot allocate memory/i

export const REASONS: readonly Reason[] = [
  {
    pattern: /required secrets? (?:is|are) unavailable|SECRETS_DEGRADED/i,
    verdict: 'blocked',
    mayPass: true,
    advice: 'provide the secret that it names, then start it',
  },
  {
    pattern:
      /uses newer schema version|newer than this build|older than the config last written|written by a newer OpenClaw|a newer OpenClaw build/i,
    verdict: 'unusable-state',
    advice: 'install the OpenClaw version that wrote its data and config; delete no data',
  },
  {
    pattern: /database disk image is malformed|malformed database schema|\bis not a database/i,
    verdict: 'unusable-state',
    advice: 'restore its database from a backup, or have it repaired; delete no data',
  },
  {
    pattern: /startup migrations did not complete|requires state migration|state lease heartbeat did not become ready/i,
    verdict: 'needs-migration',
    mayPass: true,
    advice: 'let `openclaw doctor --fix --yes --non-interactive` finish the migration, then start it',
  },
  {
    pattern:
      /another OpenClaw process|already running under|gateway already running|database (?:\w+ )?is locked|SQLITE_BUSY/i,
    verdict: 'refused-by-another-gateway',
    mayPass: true,
    advice: 'end the other OpenClaw process that it names, or use that one',
  },
  {
    pattern: /JSON5 parse failed|Invalid config\b|Config(?:uration)? (?:file )?(?:is )?invalid|Gateway start blocked/i,
    verdict: 'misconfigured',
    advice: 'correct its config where its words say so',
  },
  {
    pattern: /Refusing to bind/i,
    verdict: 'misconfigured',
    advice: 'give gateway.auth a token or password, or bind to loopback',
  },
  {
    pattern: /refusing fallback|gateway tls: cert\/key missing|\blisten (?:EADDRNOTAVAIL|EACCES)\b/i,
    verdict: 'misconfigured',
    mayPass: true,
    advice: 'see whether the address or the file that its config names is there',
  },
  // In the words of `judge`.
  {
    pattern: /names a Node or a program that is gone/,
    verdict: 'broken-install',
    advice: 'let `openclaw gateway install --force` write its service definition again, with the Node of today',
  },
  {
    pattern:
      /ERR_MODULE_NOT_FOUND|Cannot find (?:module|package)|does not provide an export named|was compiled against a different Node|ERR_DLOPEN_FAILED|ERR_REQUIRE_ESM|ERR_INVALID_PACKAGE_CONFIG|ERR_PACKAGE_PATH_NOT_EXPORTED|Cannot find native binding|invalid ELF header|Exec format error|incompatible architecture|GLIBC\w*_[\d.]+['’]? not found|[Ss]ymbol not found|undefined symbol|requires Node|Unsupported Node|node:sqlite is unavailable|\bnode['"’]?: (?:No such file|not found)|\benv: \W*node\b|(?:node|openclaw): command not found|command not found: (?:node|openclaw)|Library not loaded|error while loading shared libraries/i,
    verdict: 'broken-install',
    advice: 'reinstall OpenClaw at the version that you had, with the Node that it needs',
  },
  {
    pattern: /\bEDQUOT\b|Disk quota exceeded/i,
    verdict: 'disk-full',
    advice: 'free some space, or have the quota raised',
  },
  {
    // Linux says ENOSPC also when it has no more file watchers; the disk has space then.
    pattern: /\bENOSPC\b.*file watchers/i,
    mayPass: true,
    advice: 'raise fs.inotify.max_user_watches',
  },
  { pattern: /\bENOSPC\b|no space left on device|database or disk is full/i, mayPass: true, advice: 'free some space' },
  {
    pattern:
      /\bEROFS\b|read-only file system|write a readonly database|\bEACCES\b|permission denied|\bEPERM\b|operation not permitted/i,
    verdict: 'blocked',
    advice: 'give the account of the gateway the right to write the file that it names',
  },
  {
    pattern: /EADDRINUSE|another gateway instance is already listening/i,
    mayPass: true,
    advice: 'see what had its port',
  },
  { pattern: OUT_OF_MEMORY, mayPass: true, advice: 'see what needs so much memory' },
]
