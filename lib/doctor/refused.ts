/** Thrown wherever a call of an instrument turns out to be against the policy: what is wrong, and what to do instead. */
export class Refused extends Error {}
