/** What the scripted doctor does; the sandbox writes it to a JSON file that the stand-in for `claude` reads. */
export interface DoctorScript {
  mode?:
    | 'usual'
    /** The folder is trusted already: no question. */
    | 'trusted'
    /** The question as older releases ask it, with "Yes" highlighted. */
    | 'old-trust'
    /** Ends at once with exit code 1. */
    | 'exits'
    /** Shows its input box and takes no key. */
    | 'deaf'
    /** Answers the prompt with the words of a Claude Code that is not logged in. */
    | 'login'
    /** Answers the prompt with the words of a used-up quota. */
    | 'quota'
  /** Its turn, in order: waits for so long, or until a file is there; a command runs only if the PreToolUse hook allows it. */
  steps?: { say?: string; bash?: string; waitMs?: number; untilFile?: string }[]
  /** Written where the prompt asks for the report. */
  report?: string
}
