// The few WebGL2 calls that the renderer is made of.

/** Thrown where the browser has no WebGL2 or cannot run the shaders; the message is for the user. */
export class NoDrawing extends Error {}

/** Whether WebGL is drawn by the CPU. */
export function isSoftware(gl) {
  const info = gl.getExtension('WEBGL_debug_renderer_info');
  const name = info ? gl.getParameter(info.UNMASKED_RENDERER_WEBGL) : '';
  return /swiftshader|llvmpipe|software|basic render/i.test(name);
}

/** A linked program with the places of its uniforms and attributes by name. */
export function createProgram(gl, vertexSource, fragmentSource) {
  const handle = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, vertexSource], [gl.FRAGMENT_SHADER, fragmentSource]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(handle, shader);
    gl.deleteShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) {
      throw new NoDrawing(`the graphics driver refuses a shader: ${gl.getShaderInfoLog(shader)}`);
    }
  }
  gl.linkProgram(handle);
  if (!gl.getProgramParameter(handle, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new NoDrawing(`the graphics driver refuses a shader: ${gl.getProgramInfoLog(handle)}`);
  }
  return { handle, uniforms: uniformsOf(gl, handle) };
}

function uniformsOf(gl, handle) {
  const uniforms = {};
  const count = gl.getProgramParameter(handle, gl.ACTIVE_UNIFORMS);
  for (let i = 0; i < count; i++) {
    const { name } = gl.getActiveUniform(handle, i);
    uniforms[name.replace('[0]', '')] = gl.getUniformLocation(handle, name);
  }
  return uniforms;
}

/** Set uniforms by name; the length of a value tells its kind, `integers` names those that are integers. */
export function setUniforms(gl, { uniforms }, values, integers = {}) {
  for (const [name, value] of Object.entries(values)) {
    const at = uniforms[name] ?? null;
    if (typeof value === 'number') gl.uniform1f(at, value);
    else if (value.length === 16) gl.uniformMatrix4fv(at, false, value);
    else if (value.length === 2) gl.uniform2fv(at, value);
    else if (value.length === 4) gl.uniform4fv(at, value);
    else gl.uniform3fv(at, value);
  }
  for (const [name, value] of Object.entries(integers)) gl.uniform1i(uniforms[name] ?? null, value);
}

/** (Re)fill a texture that shaders read texel by texel. */
export function fillTexture(gl, texture, width, { data, height }) {
  const floats = data instanceof Float32Array;
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texImage2D(
    gl.TEXTURE_2D, 0, floats ? gl.RGBA32F : gl.RGBA32UI, width, height, 0,
    floats ? gl.RGBA : gl.RGBA_INTEGER, floats ? gl.FLOAT : gl.UNSIGNED_INT, data,
  );
  for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
    gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
  }
}

/** Point an attribute of the bound vertex array at a buffer filled with `data` (floats, or bytes). */
export function fillAttribute(gl, { handle }, name, buffer, data, { size = 1, normalised = false, divisor = 0 } = {}) {
  const at = gl.getAttribLocation(handle, name);
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
  if (at < 0) return;
  gl.enableVertexAttribArray(at);
  gl.vertexAttribPointer(at, size, data instanceof Float32Array ? gl.FLOAT : gl.UNSIGNED_BYTE, normalised, 0, 0);
  gl.vertexAttribDivisor(at, divisor);
}
