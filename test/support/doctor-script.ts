/** What the scripted doctor does; the sandbox writes it to a JSON file that the stand-in for `claude` reads. */
export interface DoctorScript {
  mode?:
    | 'usual'
    /** Ends at once with exit code 1. */
    | 'exits'
    /** Starts and says nothing, for ever. */
    | 'silent'
    /** Connects to its instruments, and then says nothing, for ever. */
    | 'hangs'
    /** Prints a stream that nobody knows, for ever. */
    | 'strange'
    /** Says that its MCP server failed, and works on all the same. */
    | 'no-instruments'
    /** Answers as one that is not signed in, has no credit, or cannot reach its service. */
    | 'login'
    | 'quota'
    | 'service'
  /** Its work, in order: waits for so long, or until a file is there; calls an instrument of the real server. */
  steps?: { say?: string; call?: string; args?: Record<string, unknown>; waitMs?: number; untilFile?: string }[]
  /** What it reports in the end; without it, it writes no report. */
  report?: Record<string, string>
}
