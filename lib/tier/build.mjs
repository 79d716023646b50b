/**
 * Builds of the tier scripts: each script with all of ours that it imports as one plain JavaScript file, so that a start
 * loads one file instead of thirty and none has to be translated; and beside it V8's code of it, so that nothing has to
 * be compiled either. A build is only a cache: it is used while every source file is what it was, so that an edit counts
 * from the next start, and without one a script runs from its source. Plain JavaScript, because start.mjs is.
 */

// Not imported: to `import` node:fs loads the streams as well, which costs as much as all the rest of a start.
const { lstatSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } =
  process.getBuiltinModule('node:fs')
const { basename, join, relative } = process.getBuiltinModule('node:path')
const { fileURLToPath, pathToFileURL } = process.getBuiltinModule('node:url')

const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')
const folder = join(root, 'node_modules', '.cache', 'openclaw-self-healing')

/**
 * What is known of the script's build; undefined when there is none, or the sources have changed since.
 * @param {string} script absolute path
 */
export function findBuild(script) {
  try {
    const build = JSON.parse(readFileSync(manifestOf(script), 'utf8'))
    // The build names files by their paths: one that was moved along with the checkout names what is not there any more.
    if (build.root !== root) return undefined
    // The change time of the inode: it moves with every edit, also with one that sets the modification time back.
    for (const path in build.sources) if (changedMs(`${root}/${path}`) !== build.sources[path]) return undefined
    // A full disk may have cut it.
    return statSync(buildOf(script)).size === build.size ? build : undefined
  } catch {
    return undefined
  }
}

/**
 * Runs a build. Node's own compile cache would hold only what is compiled at the very beginning, not the functions that
 * a run comes to call (7 ms of a healthy tick on Node 24), so V8's code is kept here, as it is after a healthy run.
 * Throws what the script throws.
 */
export async function runBuild(script, build) {
  const { Script } = process.getBuiltinModule('node:vm')
  const compiled = new Script(readFileSync(buildOf(script), 'utf8'), {
    filename: buildOf(script),
    cachedData: readCode(script, build),
  })
  await compiled.runInThisContext()((name) => import(name))
  // With flags (--help, --dry-run) little of it runs, or nothing may be written. Rejected: it is another Node's.
  const isOrdinary = process.exitCode === 0 && process.argv.length === 2
  if (isOrdinary && compiled.cachedDataRejected !== false) keepCode(script, build, compiled.createCachedData())
}

/** V8 trusts its code blindly, a damaged one would end the process: it must be the file that was written for this build. */
function readCode(script, build) {
  try {
    return build.code === stateOfCode(script) ? readFileSync(codeOf(script)) : undefined
  } catch {
    return undefined
  }
}

function keepCode(script, build, code) {
  try {
    replaceFile(codeOf(script), code)
    replaceFile(manifestOf(script), JSON.stringify({ ...build, code: stateOfCode(script) }))
  } catch {
    // The next run compiles it again.
  }
}

/** When the code was written, and when the build was of which it is the code. */
function stateOfCode(script) {
  return `${changedMs(codeOf(script))} ${changedMs(buildOf(script))}`
}

/** Makes a build for the next start, if it can be. Throws what the file system, or a source that cannot be parsed, throws. */
export async function makeBuild(script) {
  // A node_modules that is a link belongs to another checkout, with builds of its own.
  if (lstatSync(join(root, 'node_modules')).isSymbolicLink()) return
  const { builtinModules, createRequire } = await import('node:module')
  // tsx brings esbuild, and cannot do without it.
  const esbuild = createRequire(createRequire(import.meta.url).resolve('tsx'))('esbuild')
  const sources = { 'lib/tier/build.mjs': changedMs(fileURLToPath(import.meta.url)) }
  try {
    const { outputFiles } = await esbuild.build({
      entryPoints: [script],
      write: false,
      bundle: true,
      platform: 'node',
      format: 'esm',
      // A script, not a module, for only of a script the code can be kept; so its top-level await needs a function.
      banner: { js: "(async (importPackage) => {'use strict'" },
      footer: { js: '})' },
      target: 'node20',
      tsconfigRaw: {},
      logLevel: 'silent',
      plugins: [readSources(sources), sortImports(builtinModules)],
    })
    mkdirSync(folder, { recursive: true })
    const { contents } = outputFiles[0]
    replaceFile(buildOf(script), contents)
    replaceFile(manifestOf(script), JSON.stringify({ root, size: contents.length, sources }))
  } finally {
    await esbuild.stop()
  }
}

/** Lets the next start run from the source. */
export function forgetBuild(script) {
  rmSync(manifestOf(script), { force: true })
}

function buildOf(script) {
  return join(folder, `${basename(script, '.ts')}.js`)
}

function manifestOf(script) {
  return join(folder, `${basename(script, '.ts')}.json`)
}

function codeOf(script) {
  return join(folder, `${basename(script, '.ts')}.code`)
}

function changedMs(path) {
  return statSync(path).ctimeMs
}

/** Others may be reading it, or writing it too. */
function replaceFile(path, content) {
  const temporary = `${path}.${process.pid}`
  try {
    // On the disk before its name is: after a power cut it is whole or not there.
    writeFileSync(temporary, content, { flush: true })
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

/** Notes when each source was changed last, and lets `import.meta.url` be what it is there. */
function readSources(sources) {
  return {
    name: 'sources',
    setup(build) {
      build.onLoad({ filter: /\.[cm]?[jt]s$/, namespace: 'file' }, ({ path }) => {
        // Before it is read: an edit in between makes the build stale, and not wrong.
        sources[relative(root, path)] = changedMs(path)
        const url = JSON.stringify(pathToFileURL(path).href)
        const text = readFileSync(path, 'utf8').replace(/\bimport\.meta\.url\b/g, url)
        return path.endsWith('ts') ? { contents: withoutImports(text), loader: 'ts' } : { contents: text }
      })
    },
  }
}

/**
 * `import { a, b as c } from 'node:fs'` as the lines at the top of this file have it, and `await import('zx')` as a
 * call of what runBuild passes in: Node 20 cannot import() in a script that runs from V8's code.
 */
function withoutImports(text) {
  const withoutBuiltins = text.replace(/^import \{([^}]*)\} from ('node:[\w/]+')$/gm, (_, names, module) => {
    const values = names.replace(/\btype [\w$]+(?: as [\w$]+)?,?/g, '').replace(/ as /g, ': ')
    return `const {${values}} = process.getBuiltinModule(${module})`
  })
  return withoutBuiltins.replace(/\bawait import\((?='(?!node:)[a-z@])/g, 'await importPackage(')
}

/**
 * Takes Node's own modules as above, not by `import`. Of the packages, what every tick loads becomes part of the build,
 * and what is loaded when it is needed stays where it is.
 */
function sortImports(builtins) {
  return {
    name: 'imports',
    setup(build) {
      build.onResolve({ filter: /^[^./]/ }, ({ path, kind }) => {
        if (path.startsWith('node:') || builtins.includes(path)) return { path, namespace: 'builtin' }
        return kind === 'dynamic-import' ? { errors: [{ text: `no await before import('${path}')` }] } : undefined
      })
      build.onLoad({ filter: /./, namespace: 'builtin' }, ({ path }) => ({
        contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)})`,
      }))
    },
  }
}
