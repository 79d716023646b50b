/**
 * Builds of the tier scripts: each script with all of ours that it imports as one plain JavaScript file, so that a start
 * loads one file instead of thirty and none has to be translated. A build is only a cache: it is used while every source
 * file is what it was, so that an edit counts from the next start, and without one a script runs from its source. Plain
 * JavaScript, because start.mjs is.
 */

// Not imported: to `import` node:fs loads the streams as well, which costs as much as all the rest of a start.
const { lstatSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } =
  process.getBuiltinModule('node:fs')
const { basename, join, relative } = process.getBuiltinModule('node:path')
const { fileURLToPath, pathToFileURL } = process.getBuiltinModule('node:url')

const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')
const folder = join(root, 'node_modules', '.cache', 'openclaw-self-healing')

/**
 * The file to run instead of the script; undefined when there is no build, or the sources have changed since.
 * @param {string} script absolute path
 * @returns {string | undefined}
 */
export function findBuild(script) {
  try {
    const { size, sources, ...made } = JSON.parse(readFileSync(manifestOf(script), 'utf8'))
    // The build names files by their paths: one that was moved along with the checkout names what is not there any more.
    if (made.root !== root) return undefined
    // The change time of the inode: it moves with every edit, also with one that sets the modification time back.
    for (const path in sources) if (changedMs(join(root, path)) !== sources[path]) return undefined
    // A full disk may have cut it.
    return statSync(buildOf(script)).size === size ? buildOf(script) : undefined
  } catch {
    return undefined
  }
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
  return join(folder, `${basename(script, '.ts')}.mjs`)
}

function manifestOf(script) {
  return join(folder, `${basename(script, '.ts')}.json`)
}

function changedMs(path) {
  return statSync(path).ctimeMs
}

/** Others may be reading it, or writing it too. */
function replaceFile(path, content) {
  const temporary = `${path}.${process.pid}`
  try {
    writeFileSync(temporary, content)
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
        return path.endsWith('ts') ? { contents: withoutBuiltinImports(text), loader: 'ts' } : { contents: text }
      })
    },
  }
}

/** `import { a, b as c } from 'node:fs'` as the lines at the top of this file have it. */
function withoutBuiltinImports(text) {
  return text.replace(/^import \{([^}]*)\} from ('node:[\w/]+')$/gm, (_, names, module) => {
    const values = names.replace(/\btype [\w$]+(?: as [\w$]+)?,?/g, '').replace(/ as /g, ': ')
    return `const {${values}} = process.getBuiltinModule(${module})`
  })
}

/** Of the packages, what every tick loads becomes part of the build, and the others stay where they are. */
const INLINED = ['dotenv']

/** Takes Node's own modules as above, not by `import`. */
function sortImports(builtins) {
  return {
    name: 'imports',
    setup(build) {
      build.onResolve({ filter: /^[^./]/ }, ({ path }) => {
        if (path.startsWith('node:') || builtins.includes(path)) return { path, namespace: 'builtin' }
        return INLINED.includes(path) ? undefined : { path, external: true }
      })
      build.onLoad({ filter: /./, namespace: 'builtin' }, ({ path }) => ({
        contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)})`,
      }))
    },
  }
}
