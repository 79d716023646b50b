/** How the page looks: light and dark, on a phone and on paper, without a script and without the network. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --ground: #f6f5f2; --panel: #ffffff; --ink: #1d2126; --dim: #59626d; --line: #dedbd4;
  --up: #4fa97a; --down: #c62f2a; --stopped: #4c78c8; --none: #d5d1c9; --none-line: #b9b4aa;
  --level1: #b7791f; --level2: #2f7d8c; --level3: #7b57c2; --level4: #c62f2a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #121518; --panel: #1a1e23; --ink: #e7e5e1; --dim: #a0a9b3; --line: #2f363e;
    --up: #3c9468; --down: #ff6a5f; --stopped: #6f9bea; --none: #2b3138; --none-line: #48515b;
    --level1: #e0a84a; --level2: #57b3c4; --level3: #a78bea; --level4: #ff6a5f;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 1.05rem; margin: 0 0 .9rem; }
h3 { font-size: 1rem; display: inline; margin: 0; }
p { margin: .25rem 0; }
.dim, time, .axis { color: var(--dim); }
.dim { font-size: .9rem; }
section { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem 1.25rem; margin-top: 1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 1rem; margin-top: 1.25rem; }
.tile { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.6rem; line-height: 1.2; font-weight: 650; letter-spacing: -.02em; }
.two { display: grid; grid-template-columns: 3fr 2fr; gap: 0 1rem; }
.two > section { min-width: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; font-size: 1.05rem; margin-bottom: .6rem; }
th, td { text-align: left; padding: .32rem .9rem .32rem 0; border-top: 1px solid var(--line); vertical-align: top; font-weight: 400; }
thead th { color: var(--dim); font-size: .85rem; border-top: 0; }
tbody tr:first-child > * { border-top: 0; }
.scroll { overflow-x: auto; }
td.number, th.number { text-align: right; }

.day { display: grid; grid-template-columns: 6rem 1fr 4.2rem; align-items: center; gap: .7rem; margin-top: .3rem; font-variant-numeric: tabular-nums; }
.day > :first-child { white-space: nowrap; }
.day > :last-child { text-align: right; }
.strip { position: relative; height: 1.35rem; }
.strip i { position: absolute; top: 0; bottom: 0; }
.up { background: var(--up); }
.strip i.down { top: -.15rem; bottom: -.15rem; min-width: 3px; border-radius: 1px; z-index: 1; }
.down { background: var(--down); }
.stopped { background: var(--stopped); }
.unknown { background: repeating-linear-gradient(135deg, var(--none) 0 4px, var(--none-line) 4px 6px); }
.axis { position: relative; height: 1.1rem; font-size: .8rem; }
.axis span { position: absolute; white-space: nowrap; transform: translateX(-50%); }
.axis span:first-child { transform: none; }
.axis span:last-child { transform: translateX(-100%); }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin-top: .7rem; font-size: .9rem; color: var(--dim); }
.legend i { display: inline-block; width: .9rem; height: .9rem; border-radius: 2px; vertical-align: -.12rem; margin-right: .4rem; }

.cause { margin-top: .6rem; }
.cause:first-of-type { margin-top: 0; }
.cause p:first-child { display: flex; justify-content: space-between; gap: 1rem; margin: 0 0 .15rem; }
.bar { height: .7rem; background: var(--ground); border-radius: 3px; }
.bar i { display: block; height: 100%; border-radius: 3px; min-width: 3px; background: var(--down); }

details { border-top: 1px solid var(--line); padding: .8rem 0; }
details:first-of-type { border-top: 0; padding-top: 0; }
details:last-of-type { padding-bottom: 0; }
summary { cursor: pointer; }
.tag { display: inline-block; border: 1px solid var(--line); border-radius: .8rem; padding: 0 .6rem; font-size: .85rem; color: var(--dim); margin-left: .5rem; white-space: nowrap; }
.lanes { margin: .9rem 0 .4rem; }
.lane { display: grid; grid-template-columns: 4.4rem 1fr; align-items: center; gap: .7rem; height: 1.45rem; font-size: .9rem; }
.track { position: relative; height: 100%; border-bottom: 1px solid var(--line); }
.track i { position: absolute; top: 50%; }
.track i.time { height: .3rem; margin-top: -.15rem; min-width: 2px; opacity: .55; border-radius: 2px; }
.track i.down { opacity: 1; height: .7rem; margin-top: -.35rem; min-width: 3px; }
.track i.dot { width: .62rem; height: .62rem; margin: -.31rem 0 0 -.31rem; border-radius: 50%; border: 2px solid var(--panel); }
.l1 { background: var(--level1); } .l2 { background: var(--level2); } .l3 { background: var(--level3); } .l4 { background: var(--level4); } .l0 { background: var(--up); }
ol.steps { list-style: none; margin: .6rem 0 0; padding: 0; }
ol.steps li { display: grid; grid-template-columns: 4.4rem 11.5rem 1fr; gap: .7rem; padding: .14rem 0; }
ol.steps .who { white-space: nowrap; }
ol.steps time { font-variant-numeric: tabular-nums; }
ol.steps .who i { display: inline-block; width: .55rem; height: .55rem; border-radius: 50%; margin-right: .45rem; }
code { font: .88em/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
ul { margin: 0; padding-left: 1.1rem; }
ul li { margin-top: .25rem; }
footer { margin-top: 1.2rem; color: var(--dim); font-size: .9rem; }
@media (max-width: 46rem) {
  .two { grid-template-columns: 1fr; }
  main { padding: 1.25rem .8rem 2rem; }
  section { padding: .9rem; }
  .day { grid-template-columns: 4.9rem 1fr 3.4rem; gap: .45rem; font-size: .88rem; }
  ol.steps li { grid-template-columns: auto 1fr; gap: 0 .7rem; padding: .35rem 0; }
  ol.steps li > :last-child { grid-column: 1 / -1; }
  .tag { margin-left: 0; white-space: normal; }
}
@media print {
  body { background: none; }
  section, .tile { break-inside: avoid; }
}
`
