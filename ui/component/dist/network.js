// VISCNN network.js, built by ui/component/build.mjs
function mounting(make) {
const views = new WeakMap();
return ({ parentElement, data, setStateValue }) => {
if (!views.has(parentElement)) views.set(parentElement, { view: make(parentElement, data) });
const held = views.get(parentElement);
held.view.update(data, setStateValue);
const call = Symbol('call');
held.latestCall = call;
return () => {
if (held.latestCall !== call) return;
held.view.dispose();
views.delete(parentElement);
};
};
}
const TEXTURE_WIDTH = 1024;
const SELECTED_KERNEL = 4;
const FEWEST_WHILE_TURNING = 1200;
function packPositions({ positions, radii }) {
const height = Math.max(1, Math.ceil(radii.length / TEXTURE_WIDTH));
const data = new Float32Array(4 * TEXTURE_WIDTH * height);
for (let i = 0; i < radii.length; i++) {
data.set(positions.subarray(3 * i, 3 * i + 3), 4 * i);
data[4 * i + 3] = radii[i];
}
return { data, height };
}
function packKernels(kernels, { rows = null, selected = -1 } = {}) {
const count = rows ? rows.length : kernels.count;
const height = Math.max(1, Math.ceil(count / TEXTURE_WIDTH));
const data = new Uint32Array(4 * TEXTURE_WIDTH * height);
for (let k = 0; k < count; k++) {
const e = rows ? rows[k] : k;
data[4 * k] = kernels.source[e];
data[4 * k + 1] = kernels.target[e];
data[4 * k + 2] = e === selected ? SELECTED_KERNEL : kernels.sign[e] + 1;
data[4 * k + 3] = kernels.width[e];
}
return { data, height, count };
}
function packColours(colours, count) {
const bytes = new Uint8Array(4 * count);
colours.forEach((colour, i) => {
const match = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(colour);
if (match) bytes.set([...match.slice(1).map((digits) => parseInt(digits, 16)), 255], 4 * i);
});
return bytes;
}
function kernelOpacity(count) {
return Math.min(0.85, Math.max(0.03, 30 * Math.max(1, count) ** -0.6));
}
function widestKernel(count) {
return Math.min(4.2, Math.max(1.6, 15.1 * Math.max(1, count) ** -0.2));
}
function nextDetail(detail, frameMilliseconds, total) {
if (frameMilliseconds > 32) return Math.max(FEWEST_WHILE_TURNING, Math.floor(Math.min(detail, total) * 0.6));
if (frameMilliseconds < 16) return Math.min(total, Math.ceil(detail * 1.15));
return detail;
}
const FIELD_OF_VIEW = 0.32;
const FOCAL = 1 / Math.tan(FIELD_OF_VIEW / 2);
const START = { azimuth: -0.6, elevation: 0.22 };
const LEAST_AZIMUTH = 0.3;
const STEEPEST = Math.PI / 2 - 0.02;
function createCamera(spacing = Infinity) {
const azimuth = Math.max(START.azimuth, -Math.max(LEAST_AZIMUTH, Math.atan(0.6 * spacing)));
return { ...START, azimuth, distance: 20, centre: [0, 0, 0] };
}
function lookFrom(camera, side) {
Object.assign(camera, { front: { azimuth: -Math.PI / 2, elevation: 0 }, side: { azimuth: 0, elevation: 0 } }[side]);
}
function cameraBasis({ azimuth, elevation }) {
const [sa, ca, se, ce] = [Math.sin(azimuth), Math.cos(azimuth), Math.sin(elevation), Math.cos(elevation)];
return { right: [ca, 0, -sa], up: [-se * sa, ce, -se * ca], back: [ce * sa, se, ce * ca] };
}
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
function nearestDepth(distance) {
return distance * 0.02;
}
function viewProjection(camera, width, height) {
const { right, up, back } = cameraBasis(camera);
const near = nearestDepth(camera.distance);
const far = camera.distance + 200;
const [sx, sy] = [(FOCAL * height) / width, FOCAL];
const sz = (far + near) / (near - far);
const tz = (2 * far * near) / (near - far);
const { centre, distance } = camera;
const ox = -dot(right, centre);
const oy = -dot(up, centre);
const oz = -dot(back, centre) - distance;
const matrix = new Float32Array(16);
for (let k = 0; k < 3; k++) matrix.set([sx * right[k], sy * up[k], sz * back[k], -back[k]], 4 * k);
matrix.set([sx * ox, sy * oy, sz * oz + tz, -oz], 12);
return matrix;
}
function pixelsPerUnit(height) {
return (FOCAL * height) / 2;
}
function orbit(camera, dx, dy) {
camera.azimuth -= dx * 0.007;
camera.elevation = Math.min(Math.max(camera.elevation + dy * 0.007, -STEEPEST), STEEPEST);
}
function zoom(camera, delta) {
camera.distance = Math.min(Math.max(camera.distance * Math.exp(delta * 0.0012), 0.4), 400);
}
function pan(camera, dx, dy, height) {
const { right, up } = cameraBasis(camera);
const unit = camera.distance / pixelsPerUnit(height);
camera.centre = camera.centre.map((value, k) => value + (-dx * right[k] + dy * up[k]) * unit);
}
function fitCamera(camera, points, width, height, padding) {
const { right, up, back } = cameraBasis(camera);
const aspect = width / height;
const horizontal = sides(points, right, back, aspect, padding.right / width, padding.left / width);
const vertical = sides(points, up, back, 1, padding.top / height, padding.bottom / height);
const distance = Math.max(horizontal.distance, vertical.distance, 0.5);
const [across, along] = [horizontal.shift(distance), vertical.shift(distance)];
camera.distance = distance;
camera.centre = right.map((value, k) => value * across + up[k] * along);
}
function sides(points, axis, back, aspect, marginHigh, marginLow) {
const slope = (margin) => (Math.max(0.2, 1 - 2 * margin) * aspect) / FOCAL;
const [high, low] = [slope(marginHigh), slope(marginLow)];
let most = -Infinity;
let least = -Infinity;
for (let i = 0; i < points.length; i += 3) {
const point = points.subarray(i, i + 3);
const [a, t] = [dot(axis, point), dot(back, point)];
most = Math.max(most, a + high * t);
least = Math.max(least, -a + low * t);
}
if (points.length === 0) [most, least] = [1, 1];
return {
distance: (most + least) / (high + low),
shift: (distance) => (most - high * distance + (low * distance - least)) / 2,
};
}
const CLICK_TRAVEL = 5;
function listen(canvas, handlers, signal) {
let drag = null;
const place = (event) => {
const box = canvas.getBoundingClientRect();
return [event.clientX - box.left, event.clientY - box.top];
};
const on = (name, action, options = {}) => canvas.addEventListener(name, action, { signal, ...options });
on('pointerdown', (event) => {
if (drag) return;
drag = { id: event.pointerId, x: event.clientX, y: event.clientY, travel: 0, shift: event.shiftKey || event.button !== 0 };
canvas.setPointerCapture(event.pointerId);
});
on('pointermove', (event) => {
if (!drag) return handlers.hover(...place(event));
if (event.pointerId !== drag.id) return undefined;
const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
Object.assign(drag, { x: event.clientX, y: event.clientY, travel: drag.travel + Math.abs(dx) + Math.abs(dy) });
if (drag.travel < CLICK_TRAVEL) return undefined;
return drag.shift ? handlers.shift(dx, dy) : handlers.turn(dx, dy);
});
on('pointerup', (event) => {
const clicked = drag && event.pointerId === drag.id && drag.travel < CLICK_TRAVEL && !drag.shift;
drag = null;
if (clicked) handlers.click(...place(event));
});
on('pointercancel', () => { drag = null; });
on('pointerleave', () => handlers.leave());
on('dblclick', () => handlers.reset());
on('keydown', (event) => {
if (!event.ctrlKey && !event.metaKey && !event.altKey && handlers.key(event.key)) event.preventDefault();
});
on('contextmenu', (event) => event.preventDefault());
on('wheel', (event) => {
event.preventDefault();
const pixelsPerStep = [1, 16, 400][event.deltaMode];
handlers.zoom(event.deltaY * pixelsPerStep);
}, { passive: false });
}
function readNetwork(nodes, kernels) {
const numbers = (table, name) => table.getChild(name).toArray();
const texts = (name) => Array.from(nodes.getChild(name) ?? [], (value) => value ?? '');
return {
filters: {
count: nodes.numRows,
x: numbers(nodes, 'x'),
y: numbers(nodes, 'y'),
z: numbers(nodes, 'z'),
layer: numbers(nodes, 'layer'),
score: numbers(nodes, 'score'),
value: nodes.getChild('value')?.toArray() ?? new Float32Array(nodes.numRows).fill(NaN),
marked: nodes.getChild('target')?.toArray() ?? new Uint8Array(nodes.numRows),
colour: texts('colour'),
uid: texts('uid'),
},
kernels: {
count: kernels.numRows,
source: numbers(kernels, 'source'),
target: numbers(kernels, 'target'),
sign: numbers(kernels, 'sign'),
width: numbers(kernels, 'width'),
},
};
}
function shared(before, after) {
const none = { filters: false, places: false };
if (!before || before.filters.count !== after.filters.count) return none;
const equal = (name) => before.filters[name].every((value, i) => value === after.filters[name][i]);
if (!['uid', 'layer'].every(equal)) return none;
return { filters: true, places: ['x', 'y', 'z'].every(equal) };
}
function named(selection, network) {
if (!selection) return null;
const { uid } = network.filters;
const { source, target } = network.kernels;
const { kind, index } = selection;
return kind === 'filter' ? { kind, uid: uid[index] } : { kind, source: uid[source[index]], target: uid[target[index]] };
}
function found(names, network) {
if (!names) return null;
const row = (uid) => network.filters.uid.indexOf(uid);
if (names.kind === 'filter') {
const index = row(names.uid);
return index < 0 ? null : { kind: 'filter', index };
}
const [source, target] = [row(names.source), row(names.target)];
const { kernels } = network;
for (let e = 0; e < kernels.count; e++) {
if (kernels.source[e] === source && kernels.target[e] === target) return { kind: 'kernel', index: e };
}
return null;
}
function describeSelection(selection, network, revision, selectedRevision) {
const common = { kind: null, index: -1, revision, selectedRevision };
if (!selection) return common;
return { ...common, ...selection, ...named(selection, network) };
}
const NORMAL = 0;
const FADED = 1;
const SELECTED = 2;
function highlight(network, selection) {
const { filters, kernels } = network;
const states = new Uint8Array(filters.count);
if (!selection) return { states, lit: null };
states.fill(FADED);
const touches =
selection.kind === 'kernel'
? (e) => e === selection.index
: (e) => kernels.source[e] === selection.index || kernels.target[e] === selection.index;
const lit = [];
for (let e = 0; e < kernels.count; e++) {
if (!touches(e)) continue;
lit.push(e);
states[kernels.source[e]] = NORMAL;
states[kernels.target[e]] = NORMAL;
}
if (selection.kind === 'filter') states[selection.index] = SELECTED;
return { states, lit: Uint32Array.from(lit) };
}
const SMALLEST_RADIUS = 0.012;
const LARGEST_RADIUS = 0.06;
const RADIUS_OF_SPACING = 0.36;
const SMALLEST_DISC = 0.13;
const SAMPLED_NEIGHBOURS = 48;
const LAYER_SPACING = 1.65;
const LONGEST = 16;
const NEAR = 0.01;
const SELECTED_SIZE = 1.45;
const DISC_CORNERS = 24;
function groupByLayer(layer) {
const groups = new Map();
layer.forEach((number, i) => {
if (!groups.has(number)) groups.set(number, []);
groups.get(number).push(i);
});
return groups;
}
function buildScene(filters) {
const groups = groupByLayer(filters.layer);
const flat = planeTransform(filters, groups);
const depth = depthTransform(filters.z);
const positions = new Float32Array(3 * filters.count);
for (let i = 0; i < filters.count; i++) {
positions[3 * i] = depth.place(filters.z[i]);
positions[3 * i + 1] = flat.y(filters.y[i]);
positions[3 * i + 2] = flat.x(filters.x[i]);
}
const radii = new Float32Array(filters.count);
const discs = [];
for (const [layer, rows] of [...groups].sort((a, b) => a[0] - b[0])) {
const radius = pointRadius(positions, rows);
for (const i of rows) radii[i] = radius;
discs.push({ layer, first: rows[0], filters: rows.length, ...disc(positions, rows, radius) });
}
return { positions, radii, discs, spacing: depth.spacing };
}
function planeTransform(filters, groups) {
let widest = 0;
for (const rows of groups.values()) {
const [x, y] = [range(filters.x, rows), range(filters.y, rows)];
for (const i of rows) widest = Math.max(widest, Math.hypot(filters.x[i] - x.middle, filters.y[i] - y.middle));
}
const scale = widest > 0 ? 1 / widest : 1;
const [x, y] = [range(filters.x), range(filters.y)];
return { x: (value) => (value - x.middle) * scale, y: (value) => (value - y.middle) * scale };
}
function depthTransform(z) {
const all = range(z);
const steps = new Set(z).size - 1;
const length = Math.min(Math.max(LAYER_SPACING * steps, 0), LONGEST);
const place = (value) => (all.size > 0 ? ((value - all.middle) / all.size) * length : 0);
return { place, spacing: steps > 0 ? length / steps : LAYER_SPACING };
}
function range(values, rows = null) {
let low = Infinity;
let high = -Infinity;
const take = (value) => {
if (value < low) low = value;
if (value > high) high = value;
};
if (rows) for (const i of rows) take(values[i]);
else values.forEach(take);
return low <= high ? { middle: (low + high) / 2, size: high - low } : { middle: 0, size: 0 };
}
function pointRadius(positions, rows) {
const step = Math.max(1, Math.floor(rows.length / SAMPLED_NEIGHBOURS));
const nearest = [];
for (let k = 0; k < rows.length; k += step) {
let best = Infinity;
for (const j of rows) if (j !== rows[k]) best = Math.min(best, planarDistance(positions, rows[k], j));
nearest.push(best);
}
nearest.sort((a, b) => a - b);
const spacing = nearest[nearest.length >> 1];
return Math.min(Math.max(RADIUS_OF_SPACING * spacing, SMALLEST_RADIUS), LARGEST_RADIUS);
}
function planarDistance(positions, i, j) {
return Math.hypot(positions[3 * i + 1] - positions[3 * j + 1], positions[3 * i + 2] - positions[3 * j + 2]);
}
function disc(positions, rows, radius) {
const along = (axis) => range(rows.map((i) => positions[3 * i + axis])).middle;
const centre = [along(0), along(1), along(2)];
let widest = 0;
for (const i of rows) {
widest = Math.max(widest, Math.hypot(positions[3 * i + 1] - centre[1], positions[3 * i + 2] - centre[2]));
}
return { centre, radius: Math.max(widest + 2 * radius, SMALLEST_DISC) };
}
function outline(discs, pointsPerDisc = 16) {
const points = new Float32Array(discs.length * pointsPerDisc * 3);
discs.forEach(({ centre, radius }, d) => {
for (let k = 0; k < pointsPerDisc; k++) {
const angle = (2 * Math.PI * k) / pointsPerDisc;
const place = [centre[0], centre[1] + radius * Math.sin(angle), centre[2] + radius * Math.cos(angle)];
points.set(place, 3 * (d * pointsPerDisc + k));
}
});
return points;
}
function project(positions, matrix, width, height, out = new Float32Array(positions.length)) {
const m = matrix;
for (let i = 0; i < positions.length; i += 3) {
const x = positions[i];
const y = positions[i + 1];
const z = positions[i + 2];
const w = m[3] * x + m[7] * y + m[11] * z + m[15];
out[i] = ((m[0] * x + m[4] * y + m[8] * z + m[12]) / w + 1) * 0.5 * width;
out[i + 1] = (1 - (m[1] * x + m[5] * y + m[9] * z + m[13]) / w) * 0.5 * height;
out[i + 2] = w;
}
return out;
}
function pickFilter(screen, radii, unit, x, y, { tolerance = 6, nearest = NEAR, states = null, faded = false } = {}) {
let front = -1;
let frontDepth = Infinity;
let near = -1;
let nearDistance = tolerance;
for (let i = 0; i < radii.length; i++) {
const depth = screen[3 * i + 2];
if (depth < nearest || radii[i] === 0 || (states && (states[i] === FADED) !== faded)) continue;
const size = states?.[i] === SELECTED ? SELECTED_SIZE : 1;
const distance = Math.hypot(screen[3 * i] - x, screen[3 * i + 1] - y);
if (distance <= (size * radii[i] * unit) / depth && depth < frontDepth) {
front = i;
frontDepth = depth;
}
if (distance < nearDistance) {
near = i;
nearDistance = distance;
}
}
return front >= 0 ? front : near;
}
function pickKernel(screen, kernels, x, y, { rows = null, tolerance = 4, nearest = NEAR } = {}) {
let best = -1;
let bestDistance = tolerance;
const count = rows ? rows.length : kernels.count;
for (let k = 0; k < count; k++) {
const e = rows ? rows[k] : k;
const distance = segmentDistance(screen, 3 * kernels.source[e], 3 * kernels.target[e], x, y, bestDistance, nearest);
if (distance < bestDistance) {
best = e;
bestDistance = distance;
}
}
return best;
}
function segmentDistance(screen, a, b, x, y, limit, nearest) {
const ax = screen[a] - x;
const bx = screen[b] - x;
if ((ax > limit && bx > limit) || (ax < -limit && bx < -limit)) return Infinity;
const ay = screen[a + 1] - y;
const by = screen[b + 1] - y;
if ((ay > limit && by > limit) || (ay < -limit && by < -limit)) return Infinity;
if (screen[a + 2] < nearest || screen[b + 2] < nearest) return Infinity;
const dx = bx - ax;
const dy = by - ay;
const squared = dx * dx + dy * dy;
const t = squared > 0 ? Math.min(Math.max(-(ax * dx + ay * dy) / squared, 0), 1) : 0;
return Math.hypot(ax + t * dx, ay + t * dy);
}
function pickDisc(discs, matrix, width, height, x, y) {
const corners = project(outline(discs, DISC_CORNERS), matrix, width, height);
let best = null;
let nearest = Infinity;
discs.forEach((disc, d) => {
const depth = corners[3 * DISC_CORNERS * d + 2];
if (depth > NEAR && depth < nearest && insidePolygon(corners, d * DISC_CORNERS, x, y)) {
best = disc;
nearest = depth;
}
});
return best;
}
function insidePolygon(points, start, x, y) {
let inside = false;
for (let k = 0; k < DISC_CORNERS; k++) {
const a = 3 * (start + k);
const b = 3 * (start + ((k + 1) % DISC_CORNERS));
const [ay, by] = [points[a + 1], points[b + 1]];
if (ay > y !== by > y && x < points[a] + ((y - ay) / (by - ay)) * (points[b] - points[a])) inside = !inside;
}
return inside;
}
function pick(scene, network, screen, { unit, nearest }, x, y, { rows = null, states = null } = {}) {
const filter = (faded) => pickFilter(screen, scene.radii, unit, x, y, { nearest, states, faded });
const above = filter(false);
if (above >= 0) return { kind: 'filter', index: above };
const kernel = pickKernel(screen, network.kernels, x, y, { rows, nearest });
if (kernel >= 0) return { kind: 'kernel', index: kernel };
const below = states ? filter(true) : -1;
return below >= 0 ? { kind: 'filter', index: below } : null;
}
class NoDrawing extends Error {}
function isSoftware(gl) {
const info = gl.getExtension('WEBGL_debug_renderer_info');
const name = info ? gl.getParameter(info.UNMASKED_RENDERER_WEBGL) : '';
return /swiftshader|llvmpipe|software|basic render/i.test(name);
}
function createProgram(gl, vertexSource, fragmentSource) {
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
function setUniforms(gl, { uniforms }, values, integers = {}) {
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
function fillTexture(gl, texture, width, { data, height }) {
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
function fillAttribute(gl, { handle }, name, buffer, data, { size = 1, normalised = false, divisor = 0 } = {}) {
const at = gl.getAttribLocation(handle, name);
gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
if (at < 0) return;
gl.enableVertexAttribArray(at);
gl.vertexAttribPointer(at, size, data instanceof Float32Array ? gl.FLOAT : gl.UNSIGNED_BYTE, normalised, 0, 0);
gl.vertexAttribDivisor(at, divisor);
}
const FETCH = `
uniform highp sampler2D places;
vec4 place(uint i) { return texelFetch(places, ivec2(int(i) % 1024, int(i) / 1024), 0); }
`;
const DISC_VERTEX = `#version 300 es
precision highp float;
uniform mat4 viewProjection;
uniform float unit;
in vec4 disc;
out vec2 across;
void main() {
int corner = gl_VertexID % 4;
float depth = (viewProjection * vec4(disc.xyz, 1.0)).w;
float roomForTheRim = 8.0 * max(depth, 0.0) / (disc.w * unit);
across = vec2(corner % 2 == 0 ? -1.0 : 1.0, corner < 2 ? -1.0 : 1.0) * (1.0 + roomForTheRim);
gl_Position = viewProjection * vec4(disc.x, disc.yz + across * disc.w, 1.0);
}`;
const DISC_FRAGMENT = `#version 300 es
precision highp float;
uniform vec4 fill;
uniform vec4 rim;
uniform float pixelRatio;
in vec2 across;
out vec4 colour;
void main() {
float distance = length(across);
float pixel = max(fwidth(distance), 1e-4);
float inside = 1.0 - smoothstep(-0.5, 0.5, (distance - 1.0) / pixel);
float line = 1.0 - smoothstep(0.0, 1.0, abs(distance - 1.0) / pixel - 0.4 * pixelRatio);
float alpha = max(fill.a * inside, rim.a * line);
colour = vec4(mix(fill.rgb, rim.rgb, line) * alpha, alpha);
}`;
const KERNEL_VERTEX = `#version 300 es
precision highp float;
precision highp int;
${FETCH}
uniform highp usampler2D kernels;
uniform mat4 viewProjection;
uniform vec2 resolution;
uniform float pixelRatio;
uniform float nearest;
uniform float eyeDistance;
uniform float opacity;
uniform float widest;
uniform int count;
uniform vec3 palette[5];
out vec4 tint;
out float side;
out float halfWidth;
void main() {
int k = count - 1 - gl_VertexID / 6;
int corner = gl_VertexID % 6;
uvec4 kernel = texelFetch(kernels, ivec2(k % 1024, k / 1024), 0);
vec4 a = viewProjection * vec4(place(kernel.x).xyz, 1.0);
vec4 b = viewProjection * vec4(place(kernel.y).xyz, 1.0);
if (a.w < nearest && b.w < nearest) { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); return; }
if (a.w < nearest) a = mix(a, b, (nearest - a.w) / (b.w - a.w));
if (b.w < nearest) b = mix(b, a, (nearest - b.w) / (a.w - b.w));
bool atEnd = corner == 2 || corner == 4 || corner == 5;
float across = (corner == 0 || corner == 2 || corner == 4) ? -1.0 : 1.0;
vec4 at = atEnd ? b : a;
vec2 along = normalize((b.xy / b.w - a.xy / a.w) * resolution + vec2(1e-6, 0.0));
float strength = float(kernel.w) / 255.0;
float closeness = clamp(eyeDistance / at.w, 0.6, 1.7);
float chosen = kernel.z == 4u ? 1.15 : 1.0;
halfWidth = 0.5 * pixelRatio * chosen * closeness * mix(0.8, widest, pow(strength, 1.4));
side = across * (halfWidth + 0.75);
at.xy += vec2(-along.y, along.x) * side * 2.0 / resolution * at.w;
gl_Position = at;
float alpha = kernel.z == 4u ? 1.0 : clamp(opacity * mix(0.45, 1.35, strength), 0.0, 0.95);
tint = vec4(palette[kernel.z], alpha);
}`;
const KERNEL_FRAGMENT = `#version 300 es
precision highp float;
in vec4 tint;
in float side;
in float halfWidth;
out vec4 colour;
void main() {
float alpha = tint.a * clamp(halfWidth + 0.5 - abs(side), 0.0, 1.0) * min(1.0, 2.0 * halfWidth);
colour = vec4(tint.rgb * alpha, alpha);
}`;
const FILTER_VERTEX = `#version 300 es
precision highp float;
precision highp int;
${FETCH}
uniform mat4 viewProjection;
uniform float unit;
uniform float pixelRatio;
uniform vec3 background;
uniform vec3 weak;
uniform vec3 strong;
uniform vec3 chosen;
uniform int fadedOnly;
in float score;
in float kind;
in float marked;
in vec4 own;
out vec3 fill;
out vec3 line;
out float radius;
out float opacity;
out float ring;
flat out int square;
void main() {
vec4 place = place(uint(gl_VertexID));
gl_Position = viewProjection * vec4(place.xyz, 1.0);
bool selected = kind > 1.5;
bool faded = kind > 0.5 && !selected;
radius = max(place.w * unit / gl_Position.w, 1.6 * pixelRatio) * (selected ? ${SELECTED_SIZE} : mix(0.72, 1.05, score));
square = own.a > 0.5 ? 1 : 0;
if (square == 1) radius *= 1.25;
fill = square == 1 ? own.rgb : mix(weak, strong, pow(score, 0.8));
line = square == 1 ? mix(own.rgb, strong, 0.35) : mix(strong, weak, 0.6 - 0.6 * score);
ring = selected ? 2.0 : marked > 0.5 ? 1.0 : 0.0;
opacity = square == 1 || selected || ring > 0.5 ? 1.0 : mix(0.5, 1.0, sqrt(score));
if (selected) { fill = chosen; line = chosen; }
if (faded) { fill = mix(background, fill, 0.22); line = mix(background, line, 0.3); }
float reach = radius + min(ring, 1.0) * 5.0 * pixelRatio + 1.5;
gl_PointSize = 2.0 * reach;
if (selected) gl_Position.z = -0.99 * gl_Position.w;
if (place.w == 0.0 || gl_Position.w <= 0.0 || faded != (fadedOnly == 1)) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
}`;
const FILTER_FRAGMENT = `#version 300 es
precision highp float;
uniform float pixelRatio;
uniform vec3 background;
uniform vec3 accent;
uniform vec3 goal;
in vec3 fill;
in vec3 line;
in float radius;
in float opacity;
in float ring;
flat in int square;
out vec4 colour;
void main() {
float reach = radius + min(ring, 1.0) * 5.0 * pixelRatio + 1.5;
vec2 offset = (gl_PointCoord * 2.0 - 1.0) * reach;
float distance = square == 1 ? max(abs(offset.x), abs(offset.y)) : length(offset);
float body = clamp(radius + 0.5 - distance, 0.0, 1.0);
float rimWidth = min(1.1 * pixelRatio, 0.35 * radius);
float rim = clamp(distance - (radius - rimWidth) + 0.5, 0.0, 1.0);
vec4 drawn = vec4(mix(fill, line, rim) * body, body) * opacity;
if (ring > 0.5) {
float halo = clamp(radius + 4.5 * pixelRatio + 0.5 - distance, 0.0, 1.0);
float gap = clamp(radius + 2.2 * pixelRatio + 0.5 - distance, 0.0, 1.0);
vec3 around = mix(ring > 1.5 ? accent : goal, background, gap);
drawn = vec4(around * halo * (1.0 - body) + drawn.rgb, halo + body * (1.0 - halo));
}
if (drawn.a < 0.02) discard;
colour = drawn;
}`;
const MOST_FADED = 2500;
const FADED_OPACITY = 0.16;
class Renderer {
constructor(canvas) {
this.gl = canvas.getContext('webgl2', { antialias: false, alpha: true, premultipliedAlpha: true });
if (!this.gl) throw new NoDrawing('WebGL 2 is not available');
this.build();
}
build() {
const { gl } = this;
this.discs = { program: createProgram(gl, DISC_VERTEX, DISC_FRAGMENT), array: gl.createVertexArray(), count: 0 };
this.kernels = { program: createProgram(gl, KERNEL_VERTEX, KERNEL_FRAGMENT), array: gl.createVertexArray() };
this.filters = { program: createProgram(gl, FILTER_VERTEX, FILTER_FRAGMENT), array: gl.createVertexArray(), count: 0 };
this.textures = { places: gl.createTexture(), all: gl.createTexture(), lit: gl.createTexture() };
this.buffers = {};
for (const name of ['disc', 'score', 'kind', 'marked', 'own']) this.buffers[name] = gl.createBuffer();
this.litCount = null;
this.total = 0;
}
upload(scene, network) {
const { gl } = this;
const { filters, kernels } = network;
fillTexture(gl, this.textures.places, TEXTURE_WIDTH, packPositions(scene));
fillTexture(gl, this.textures.all, TEXTURE_WIDTH, packKernels(kernels, { rows: scene.rows }));
this.total = scene.rows ? scene.rows.length : kernels.count;
gl.bindVertexArray(this.filters.array);
const attribute = (name, data, options) =>
fillAttribute(gl, this.filters.program, name, this.buffers[name], data, options);
attribute('score', Float32Array.from(filters.score));
attribute('marked', Uint8Array.from(filters.marked, Number));
attribute('own', packColours(filters.colour, filters.count), { size: 4, normalised: true });
this.filters.count = filters.count;
this.uploadDiscs(scene.discs);
}
uploadDiscs(discs) {
const { gl } = this;
gl.bindVertexArray(this.discs.array);
const data = Float32Array.from(discs.flatMap(({ centre, radius }) => [...centre, radius]));
fillAttribute(gl, this.discs.program, 'disc', this.buffers.disc, data, { size: 4, divisor: 1 });
this.discs.count = discs.length;
}
highlight(network, { states, lit }, selectedKernel) {
const { gl } = this;
gl.bindVertexArray(this.filters.array);
fillAttribute(gl, this.filters.program, 'kind', this.buffers.kind, states);
this.litCount = lit ? lit.length : null;
if (lit) {
const packed = packKernels(network.kernels, { rows: lit, selected: selectedKernel });
fillTexture(gl, this.textures.lit, TEXTURE_WIDTH, packed);
}
}
draw(view, mostKernels) {
const { gl } = this;
gl.viewport(0, 0, view.width, view.height);
gl.clearColor(0, 0, 0, 0);
gl.clear(gl.COLOR_BUFFER_BIT);
gl.enable(gl.BLEND);
gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
this.drawDiscs(view);
const all = Math.min(this.total, mostKernels);
let drawn = all;
if (this.litCount === null) this.drawKernels(view, this.textures.all, all, this.total);
else drawn = this.drawFaded(view, all, mostKernels);
this.drawFilters(view, NORMAL);
gl.bindVertexArray(null);
return drawn;
}
drawFaded(view, all, mostKernels) {
this.drawKernels(view, this.textures.all, Math.min(all, MOST_FADED), this.total, FADED_OPACITY);
this.drawFilters(view, FADED);
const lit = Math.min(this.litCount, mostKernels);
this.drawKernels(view, this.textures.lit, lit, lit);
return lit;
}
drawDiscs({ matrix, pixelRatio, unit, palette }) {
const { gl, discs } = this;
gl.useProgram(discs.program.handle);
setUniforms(gl, discs.program, { viewProjection: matrix, pixelRatio, unit, fill: palette.disc, rim: palette.rim });
gl.bindVertexArray(discs.array);
gl.disable(gl.DEPTH_TEST);
gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, discs.count);
}
drawKernels(view, texture, count, crowd, share = 1) {
const { gl, kernels } = this;
const { matrix, pixelRatio, palette } = view;
gl.useProgram(kernels.program.handle);
this.bindTextures(texture);
const values = {
viewProjection: matrix, pixelRatio, palette: palette.kernels,
opacity: share * kernelOpacity(crowd), widest: widestKernel(crowd),
resolution: [view.width, view.height], nearest: nearestDepth(view.distance), eyeDistance: view.distance,
};
setUniforms(gl, kernels.program, values, { places: 0, kernels: 1, count });
gl.bindVertexArray(kernels.array);
gl.disable(gl.DEPTH_TEST);
gl.drawArrays(gl.TRIANGLES, 0, 6 * count);
}
drawFilters({ matrix, pixelRatio, unit, palette }, part) {
const { gl, filters } = this;
gl.useProgram(filters.program.handle);
this.bindTextures(this.textures.all);
const { background, weak, strong, chosen, accent, goal } = palette;
const values = { viewProjection: matrix, pixelRatio, unit, background, weak, strong, chosen, accent, goal };
setUniforms(gl, filters.program, values, { places: 0, fadedOnly: part === FADED ? 1 : 0 });
gl.bindVertexArray(filters.array);
gl.enable(gl.DEPTH_TEST);
gl.clear(gl.DEPTH_BUFFER_BIT);
gl.drawArrays(gl.POINTS, 0, filters.count);
}
finish() {
const { gl } = this;
gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
}
bindTextures(kernels) {
const { gl } = this;
gl.activeTexture(gl.TEXTURE1);
gl.bindTexture(gl.TEXTURE_2D, kernels);
gl.activeTexture(gl.TEXTURE0);
gl.bindTexture(gl.TEXTURE_2D, this.textures.places);
}
dispose() {
const { gl } = this;
for (const { program, array } of [this.discs, this.kernels, this.filters]) {
gl.deleteProgram(program.handle);
gl.deleteVertexArray(array);
}
Object.values(this.textures).forEach((texture) => gl.deleteTexture(texture));
Object.values(this.buffers).forEach((buffer) => gl.deleteBuffer(buffer));
gl.getExtension('WEBGL_lose_context')?.loseContext();
}
}
const RIM_POINTS = 40;
const mix = (a, b, share) => a + (b - a) * share;
const blend = (one, other, share) => one.map((value, i) => mix(value, other[i], share));
const css = (rgb, alpha = 1) => `rgb(${rgb.map((value) => Math.round(255 * value)).join(' ')} / ${alpha})`;
class FlatRenderer {
constructor(canvas) {
this.context = canvas.getContext('2d');
}
build() {}
upload(scene, network) {
Object.assign(this, { scene, network });
this.total = scene.rows ? scene.rows.length : network.kernels.count;
this.own = packColours(network.filters.colour, network.filters.count);
}
highlight(_, { states, lit }, selectedKernel) {
Object.assign(this, { states, lit, selectedKernel });
}
draw(view, mostKernels) {
const { context, scene, lit } = this;
this.screen = project(scene.positions, view.matrix, view.width, view.height);
context.clearRect(0, 0, view.width, view.height);
this.drawDiscs(view);
const all = Math.min(this.total, mostKernels);
if (!lit) {
this.drawKernels(view, scene.rows, all, this.total);
this.drawFilters(view, () => true);
return all;
}
this.drawKernels(view, scene.rows, Math.min(all, MOST_FADED), this.total, FADED_OPACITY);
this.drawFilters(view, (state) => state === FADED);
const drawn = Math.min(lit.length, mostKernels);
this.drawKernels(view, lit, drawn, drawn);
this.drawFilters(view, (state) => state !== FADED);
return drawn;
}
drawDiscs({ matrix, width, height, pixelRatio, palette }) {
const { context, scene } = this;
const points = project(outline(scene.discs, RIM_POINTS), matrix, width, height);
context.lineWidth = 1.8 * pixelRatio;
context.fillStyle = css(palette.disc.slice(0, 3), palette.disc[3]);
context.strokeStyle = css(palette.rim.slice(0, 3), palette.rim[3]);
scene.discs.forEach((_, d) => {
const corners = points.subarray(3 * RIM_POINTS * d, 3 * RIM_POINTS * (d + 1));
if (corners.some((value, k) => k % 3 === 2 && value <= 0)) return;  // partly behind the viewer
context.beginPath();
for (let k = 0; k < corners.length; k += 3) context.lineTo(corners[k], corners[k + 1]);
context.closePath();
context.fill();
context.stroke();
});
}
drawKernels(view, rows, count, crowd, share = 1) {
const { context, network: { kernels }, screen, selectedKernel } = this;
const nearest = nearestDepth(view.distance);
const [opacity, widest] = [share * kernelOpacity(crowd), widestKernel(crowd)];
const colours = [0, 3, 6, 9, 12].map((at) => css(view.palette.kernels.slice(at, at + 3)));
for (let k = count - 1; k >= 0; k--) {
const e = rows ? rows[k] : k;
const [a, b] = [3 * kernels.source[e], 3 * kernels.target[e]];
if (screen[a + 2] < nearest || screen[b + 2] < nearest) continue;
const chosen = e === selectedKernel;
const strength = kernels.width[e] / 255;
const closeness = Math.min(Math.max((2 * view.distance) / (screen[a + 2] + screen[b + 2]), 0.6), 1.7);
const width = (chosen ? 1.15 : 1) * closeness * mix(0.8, widest, strength ** 1.4);
context.strokeStyle = colours[chosen ? SELECTED_KERNEL : kernels.sign[e] + 1];
context.globalAlpha = chosen ? 1 : Math.min(opacity * mix(0.45, 1.35, strength), 0.95) * Math.min(1, width);
context.lineWidth = view.pixelRatio * width;
context.beginPath();
context.moveTo(screen[a], screen[a + 1]);
context.lineTo(screen[b], screen[b + 1]);
context.stroke();
}
context.globalAlpha = 1;
}
drawFilters(view, wanted) {
const { scene: { radii }, screen, states } = this;
const nearest = nearestDepth(view.distance);
const order = [];
for (let i = 0; i < radii.length; i++) {
if (radii[i] > 0 && screen[3 * i + 2] >= nearest && wanted(states[i])) order.push(i);
}
const depth = (i) => (states[i] === SELECTED ? -1 : screen[3 * i + 2]);
order.sort((i, j) => depth(j) - depth(i)).forEach((i) => this.drawFilter(view, i));
}
drawFilter({ palette, pixelRatio, unit }, i) {
const { context, network: { filters }, screen, own } = this;
const [x, y, depth] = screen.subarray(3 * i, 3 * i + 3);
const score = filters.score[i];
const selected = this.states[i] === SELECTED;
const square = own[4 * i + 3] > 0;
const colours = this.coloursOf(palette, i, square);
const size = Math.max((this.scene.radii[i] * unit) / depth, 1.6 * pixelRatio);
const radius = size * (selected ? SELECTED_SIZE : mix(0.72, 1.05, score)) * (square ? 1.25 : 1);
const ring = selected ? palette.accent : filters.marked[i] ? palette.goal : null;
if (ring) {
this.shape(x, y, radius + 3.4 * pixelRatio, square);
context.lineWidth = 2.3 * pixelRatio;
context.strokeStyle = css(ring);
context.stroke();
}
const opacity = square || ring ? 1 : mix(0.5, 1, Math.sqrt(score));
const rim = Math.min(1.1 * pixelRatio, 0.35 * radius);
this.shape(x, y, radius - rim / 2, square);
context.fillStyle = css(colours.fill, opacity);
context.fill();
context.lineWidth = rim;
context.strokeStyle = css(colours.line, opacity);
context.stroke();
}
coloursOf(palette, i, square) {
const { background, weak, strong, chosen } = palette;
if (this.states[i] === SELECTED) return { fill: chosen, line: chosen };
const score = this.network.filters.score[i];
const own = [...this.own.subarray(4 * i, 4 * i + 3)].map((value) => value / 255);
const fill = square ? own : blend(weak, strong, score ** 0.8);
const line = square ? blend(own, strong, 0.35) : blend(strong, weak, 0.6 - 0.6 * score);
if (this.states[i] !== FADED) return { fill, line };
return { fill: blend(background, fill, 0.22), line: blend(background, line, 0.3) };
}
shape(x, y, radius, square) {
const { context } = this;
context.beginPath();
if (square) context.rect(x - radius, y - radius, 2 * radius, 2 * radius);
else context.arc(x, y, radius, 0, 2 * Math.PI);
}
finish() {}
dispose() {}
}
const LINE = 15;
const LINES = 2;
const LINES_FOR_ALL = 3;
function below(captions, places) {
return captions.map((caption) => {
const { x, y, half } = caption;
return { ...caption, y: places.reduce((low, at) => (Math.abs(at.x - x) < half ? Math.max(low, at.y) : low), y) };
});
}
function thinned(wanted, width) {
for (let step = 1; step < wanted.length; step++) {
const placed = placeAll(wanted.filter((_, k) => k % step === 0), width, step === 1 ? LINES_FOR_ALL : LINES);
if (placed) return placed;
}
return placeAll(wanted.slice(0, 1), width, LINES);
}
function placeAll(captions, width, lines) {
const placed = [];
for (const { layer, x, y, half } of captions) {
const at = Math.min(Math.max(x, half), width - half);
const free = (top) =>
placed.every((other) => Math.abs(at - other.x) > half + other.half || Math.abs(top - other.y) >= LINE);
const line = Array.from({ length: lines }, (_, k) => y + LINE * k).find(free);
if (line === undefined) return null;
placed.push({ layer, x: at, y: line, half });
}
return placed;
}
const STYLE = `
.network { position: relative; width: 100%; overflow: hidden; box-sizing: border-box; user-select: none;
font-family: var(--st-font, sans-serif); color: var(--st-text-color, #222); line-height: 1.35;
background: var(--st-background-color, #fff); border: 1px solid var(--st-border-color, #ddd);
border-radius: var(--st-base-radius, 8px); }
.network canvas { display: block; width: 100%; height: 100%; touch-action: none; cursor: grab; outline: none; }
.network canvas:focus-visible { outline: 2px solid var(--st-primary-color, #f0a202); outline-offset: -2px; }
.network canvas.turning { cursor: grabbing; }
.network canvas.pointing { cursor: pointer; }
.overlay { position: absolute; inset: 0; pointer-events: none; font-size: 12px; }
.caption { position: absolute; transform: translate(-50%, 0); white-space: nowrap; opacity: .78; font-size: 11.5px;
padding: 0 4px; border-radius: 4px; background: color-mix(in srgb, var(--st-background-color, #fff) 72%, transparent); }
.legend { position: absolute; left: 12px; top: 10px; padding: 6px 10px; border-radius: 6px; max-width: 46%;
background: color-mix(in srgb, var(--st-background-color, #fff) 82%, transparent); }
.legend .text { font-weight: 600; }
.legend .detail { opacity: .7; }
.key { display: flex; flex-wrap: wrap; gap: 0 12px; opacity: .85; font-size: 11.5px; white-space: nowrap; }
.key i { display: inline-block; width: 18px; height: 3px; border-radius: 2px; margin-right: 5px; vertical-align: middle; }
.hint { position: absolute; right: 12px; top: 12px; opacity: .72; font-size: 11px; }
.tooltip { position: absolute; max-width: 60%; padding: 4px 9px; border-radius: 6px; white-space: nowrap; z-index: 2;
background: var(--st-text-color, #222); color: var(--st-background-color, #fff); box-shadow: 0 2px 10px #0004; }
.tooltip b { font-weight: 600; display: block; }
.tooltip span { opacity: .8; font-size: 11px; }
.ring { position: absolute; box-sizing: border-box; border: 2px solid #f0a202; border-radius: 50%; }
[aria-live] { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
[hidden] { display: none !important; }
`;
function element(name, className, parent, text = '') {
const made = document.createElement(name);
made.className = className;
made.textContent = text;
parent.append(made);
return made;
}
function createFrame(parent, height) {
const frame = element('div', 'network', parent);
element('style', '', frame, STYLE);
frame.style.height = `${height}px`;
return frame;
}
class Overlay {
constructor(frame) {
this.root = element('div', 'overlay', frame);
this.captions = element('div', '', this.root);
const legend = element('div', 'legend', this.root);
legend.dataset.testid = 'network3d-legend';
this.text = element('div', 'text', legend);
this.detail = element('div', 'detail', legend);
this.key = element('div', 'key', legend);
element('div', 'hint', this.root, 'drag: turn · wheel: zoom · shift-drag: move · arrows: along the strongest kernels');
this.live = element('div', '', this.root);
this.live.setAttribute('aria-live', 'polite');
this.ring = element('div', 'ring', this.root);
this.tooltip = element('div', 'tooltip', this.root);
this.tooltip.dataset.testid = 'network3d-tooltip';
this.hideTip();
}
setTexts(layers, legend, { css }, signs) {
this.captions.replaceChildren();
this.labels = layers.map((text) => (text ? element('div', 'caption', this.captions, text) : null));
this.halfWidths = this.labels.map((label) => (label ? label.offsetWidth / 2 + 3 : 0));
this.text.textContent = legend;
this.key.replaceChildren();
for (const [name, colour] of Object.entries(css).reverse()) {
if (!signs.has(name)) continue;
const entry = element('span', '', this.key);
element('i', '', entry).style.background = colour;
entry.append(name);
}
this.setDetail('');
}
texts() {
const captions = this.labels
.filter((label) => label && !label.hidden)
.map((label) => ({ text: label.textContent, x: parseFloat(label.style.left), y: parseFloat(label.style.top) }));
const key = [...this.key.children].map((entry) => ({
text: `— ${entry.textContent}`, colour: entry.firstChild.style.background,
}));
const detail = this.detail.hidden ? [] : [{ text: this.detail.textContent }];
return { captions, lines: [{ text: this.text.textContent }, ...detail, ...key] };
}
say(text) {
this.live.textContent = text;
}
setDetail(text) {
this.detail.textContent = text;
this.detail.hidden = !text;
}
placeCaptions(places, width) {
const wanted = places
.filter(({ layer, x }) => this.labels[layer] && x >= 0 && x <= width)
.map(({ layer, x, y }) => ({ layer, x, y, half: this.halfWidths[layer] }));
const shown = new Set();
for (const { layer, x, y } of thinned(below(wanted, places), width)) {
const label = this.labels[layer];
label.style.left = `${x}px`;
label.style.top = `${y}px`;
shown.add(label);
}
for (const label of this.labels) if (label) label.hidden = !shown.has(label);
}
showTip(title, text, x, y, width, circle = null) {
this.tooltip.replaceChildren();
element('b', '', this.tooltip, title);
element('span', '', this.tooltip, text);
this.tooltip.hidden = false;
const left = x + 14 + this.tooltip.offsetWidth > width ? x - 10 - this.tooltip.offsetWidth : x + 14;
this.tooltip.style.left = `${Math.max(4, left)}px`;
this.tooltip.style.top = `${Math.max(4, y - 14)}px`;
this.ring.hidden = !circle;
if (!circle) return;
const size = 2 * circle.radius + 8;
Object.assign(this.ring.style, {
width: `${size}px`, height: `${size}px`, left: `${circle.x - size / 2}px`, top: `${circle.y - size / 2}px`,
});
}
hideTip() {
this.tooltip.hidden = true;
this.ring.hidden = true;
}
}
const LEGEND_MARGIN = 12;
const LEGEND_LINE = 17;
function flattened(canvas, { background, colour, font, captions, lines, pixelRatio }) {
const copy = document.createElement('canvas');
[copy.width, copy.height] = [canvas.width, canvas.height];
const flat = copy.getContext('2d');
flat.fillStyle = background;
flat.fillRect(0, 0, copy.width, copy.height);
flat.drawImage(canvas, 0, 0);
flat.scale(pixelRatio, pixelRatio);
flat.fillStyle = colour;
flat.textBaseline = 'top';
flat.font = `11.5px ${font}`;
flat.textAlign = 'center';
for (const { text, x, y } of captions) flat.fillText(text, x, y);
flat.textAlign = 'left';
lines.forEach(({ text, colour: own }, number) => {
flat.fillStyle = own ?? colour;
flat.fillText(text, LEGEND_MARGIN, LEGEND_MARGIN + number * LEGEND_LINE);
});
return copy;
}
function toggleFullScreen(element) {
const asked = document.fullscreenElement ? document.exitFullscreen() : element.requestFullscreen?.();
asked?.catch(() => {});
}
function download(canvas, name) {
const link = document.createElement('a');
link.download = name;
link.href = canvas.toDataURL('image/png');
link.click();
}
const KERNELS = {
light: { identity: '#4a5360', inhibitory: '#1f6fb8', mixed: '#8c8f94', excitatory: '#d0342c' },
dark: { identity: '#c9ced6', inhibitory: '#5cb0ff', mixed: '#9aa0a8', excitatory: '#ff6f61' },
};
const SAFE = {
light: { identity: '#4a5360', inhibitory: '#0072b2', mixed: '#8c8f94', excitatory: '#d55e00' },
dark: { identity: '#c9ced6', inhibitory: '#56b4e9', mixed: '#9aa0a8', excitatory: '#e69f00' },
};
const COMPARISON = {
light: { identity: '#4a5360', 'only left': '#0072b2', shared: '#5a5f66', 'only right': '#d55e00' },
dark: { identity: '#c9ced6', 'only left': '#56b4e9', shared: '#c4c8ce', 'only right': '#e69f00' },
};
const PALETTES = { signs: KERNELS, safe: SAFE, comparison: COMPARISON };
const FILTERS = {
light: { weak: '#e9edf2', strong: '#3d4657', chosen: '#000000', accent: '#f0a202', goal: '#8b3fc7' },
dark: { weak: '#2a313c', strong: '#dfe6f0', chosen: '#ffffff', accent: '#ffc247', goal: '#c58cff' },
};
function parseColour(text) {
const hex = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text);
if (hex) return hex.slice(1).map((digits) => parseInt(digits, 16) / 255);
const channels = /^rgba?\(\s*([\d.]+)[,\s]+([\d.]+)[,\s]+([\d.]+)/.exec(text);
return channels ? channels.slice(1).map((value) => Number(value) / 255) : [1, 1, 1];
}
function isDark([red, green, blue]) {
return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.4;
}
function paletteFor(backgroundText, kind = 'signs') {
const background = parseColour(backgroundText);
const name = isDark(background) ? 'dark' : 'light';
const kernels = (PALETTES[kind] ?? KERNELS)[name];
const [identity, ...signs] = Object.keys(kernels);
const names = [...signs, identity];
const [weak, strong, chosen, accent, goal] = Object.values(FILTERS[name]).map(parseColour);
return {
name,
css: kernels,
names,
background,
weak,
strong,
chosen,
accent,
goal,
disc: [...strong, name === 'dark' ? 0.07 : 0.045],
rim: [...strong, name === 'dark' ? 0.4 : 0.3],
kernels: names.map((each) => parseColour(kernels[each])).concat([chosen]).flat(),
};
}
const IDENTITY = 2;
const percent = (share) => `${Math.round(100 * share)} % of its layer's highest`;
function tip({ kind, index }, { filters, kernels }, palette) {
if (kind === 'filter') return [filters.uid[index], described(filters, index)];
const title = `${filters.uid[kernels.source[index]]} → ${filters.uid[kernels.target[index]]}`;
const sign = kernels.sign[index];
if (sign === IDENTITY) return [title, 'identity: an addend of the sum'];
return [title, `${palette.names[sign + 1]} kernel · score ${percent(kernels.width[index] / 255)}`];
}
function described({ value, score, marked, colour }, i) {
const parts = colour[i] ? ['input channel'] : [];
if (!colour[i] && Number.isFinite(value[i])) {
parts.push(`score ${Number(value[i].toPrecision(3))}`, percent(score[i]));
}
if (marked[i]) parts.push('target');
return parts.join(' · ');
}
const TOOLS_STYLE = `
.tools { position: absolute; right: 10px; bottom: 10px; display: flex; gap: 4px; z-index: 3; font-size: 12px; }
.tools button, .tools summary { font: inherit; color: inherit; cursor: pointer; list-style: none; padding: 2px 8px;
border-radius: 6px; border: 1px solid var(--st-border-color, #ddd); opacity: .82;
background: color-mix(in srgb, var(--st-background-color, #fff) 88%, transparent); }
.tools summary::-webkit-details-marker { display: none; }
.tools button:hover, .tools summary:hover { opacity: 1; }
.tools details { position: relative; }
.tools .layers { position: absolute; right: 0; bottom: 28px; max-height: 260px; overflow: auto; padding: 8px 12px;
border-radius: 8px; border: 1px solid var(--st-border-color, #ddd); background: var(--st-background-color, #fff);
white-space: nowrap; box-shadow: 0 2px 10px #0003; }
.tools .layers label { display: flex; gap: 6px; align-items: center; cursor: pointer; }
.network:fullscreen { height: 100vh !important; border: 0; border-radius: 0; }
`;
const BUTTONS = [
['fit', 'Fit', 'Everything in view, seen as at first (double-click)'],
['front', 'Front', 'Seen from the input'],
['side', 'Side', 'Seen from the side'],
['fullScreen', 'Full screen', 'Fill the screen; Escape ends it'],
['save', 'PNG', 'Save the picture'],
];
class Toolbar {
constructor(frame, actions) {
this.root = append('div', frame, 'tools');
append('style', this.root).textContent = TOOLS_STYLE;
this.root.setAttribute('role', 'toolbar');
this.menu(actions.hide);
for (const [name, text, title] of BUTTONS) {
const button = append('button', this.root);
Object.assign(button, { type: 'button', textContent: text, title });
button.addEventListener('click', () => actions[name]());
}
}
menu(hide) {
const details = append('details', this.root);
this.summary = append('summary', details);
this.list = append('div', details, 'layers');
this.list.addEventListener('change', () => {
const boxes = [...this.list.querySelectorAll('input')];
const hidden = boxes.filter((box) => !box.checked);
this.say(hidden.length);
hide(new Set(hidden.map((box) => Number(box.value))));
});
}
say(hidden) {
this.summary.textContent = hidden ? `Layers (${hidden} hidden)` : 'Layers';
}
setLayers(layers) {
this.say(0);
this.list.replaceChildren();
for (const [number, name] of layers) {
const label = append('label', this.list);
const box = append('input', label);
Object.assign(box, { type: 'checkbox', checked: true, value: number });
label.append(name);
}
}
}
function append(name, parent, className = '') {
const made = document.createElement(name);
made.className = className;
return parent.appendChild(made);
}
function visiblePart(scene, network, hidden) {
if (!hidden.size) return { ...scene, rows: null };
const { filters, kernels } = network;
const radii = scene.radii.map((radius, i) => (hidden.has(filters.layer[i]) ? 0 : radius));
const rows = [];
for (let e = 0; e < kernels.count; e++) {
if (radii[kernels.source[e]] > 0 && radii[kernels.target[e]] > 0) rows.push(e);
}
const discs = scene.discs.filter(({ layer }) => !hidden.has(layer));
return { ...scene, radii, discs, rows: Uint32Array.from(rows) };
}
const BACK = { ArrowLeft: 'target', ArrowRight: 'source' };
const ON = { ArrowLeft: 'source', ArrowRight: 'target' };
const TURN = { ArrowUp: -1, ArrowDown: 1 };
function walks(key) {
return key in ON || key in TURN;
}
function walk(network, selection, key, trail = null, visible = () => true) {
if (!selection) return start(network, visible);
const { kernels } = network;
if (selection.kind === 'kernel') {
if (!(key in ON)) return null;
return { selection: { kind: 'filter', index: kernels[ON[key]][selection.index] }, trail: null };
}
if (key in ON) return along(network, { from: selection.index, key, rank: 0 }, visible);
if (trail) return along(network, { ...trail, rank: trail.rank + TURN[key] }, visible);
const next = selection.index + TURN[key];
const same = network.filters.layer[next] === network.filters.layer[selection.index];
return same ? { selection: { kind: 'filter', index: next }, trail: null } : null;
}
function along(network, trail, visible) {
const { kernels } = network;
const [near, far] = [kernels[BACK[trail.key]], kernels[ON[trail.key]]];
if (trail.rank < 0) return null;
let passed = 0;
for (let e = 0; e < kernels.count; e++) {  // the most important come first
if (near[e] !== trail.from || !visible(far[e])) continue;
if (passed === trail.rank) return { selection: { kind: 'filter', index: far[e] }, trail };
passed += 1;
}
return null;
}
function start({ filters }, visible) {
let best = -1;
const better = (i) => filters.layer[i] > filters.layer[best] ||
(filters.layer[i] === filters.layer[best] && filters.score[i] > filters.score[best]);
for (let i = 0; i < filters.count; i++) if (visible(i) && (best < 0 || better(i))) best = i;
return best < 0 ? null : { selection: { kind: 'filter', index: best }, trail: null };
}
const PADDING = { left: 40, right: 40, top: 64, bottom: 44 };
const SETTLED_AFTER = 180;
const FIRST_DETAIL_ON_SOFTWARE = 3000;
const ALWAYS_EXPLAINED = [-1, 0, 1];
const NO_WEBGL = 'drawn without WebGL 2, so slowly: hardware acceleration may be switched off';
const count = (number) => number.toLocaleString('en');
class NetworkView {
constructor(parent, config) {
this.frame = createFrame(parent, config.height);
this.stop = new AbortController();
this.selection = null;
this.frames = 0;
this.chooseRenderer();
this.prepareCanvas();
}
chooseRenderer() {
try {
this.canvas = document.createElement('canvas');
this.renderer = new Renderer(this.canvas);
this.software = isSoftware(this.renderer.gl);
} catch (error) {
if (!(error instanceof NoDrawing)) throw error;
this.software = true;
this.canvas = document.createElement('canvas');  // one that had a GL context gets no other
this.renderer = new FlatRenderer(this.canvas);
this.note = NO_WEBGL;
}
}
prepareCanvas() {
const { canvas, stop } = this;
canvas.dataset.testid = 'network3d';
canvas.__network = this;
this.frame.append(canvas);
canvas.tabIndex = 0;
this.overlay = new Overlay(this.frame);
this.toolbar = new Toolbar(this.frame, this.actions());
this.hidden = new Set();
this.camera = createCamera();
this.untouched = true;
this.detail = this.software ? FIRST_DETAIL_ON_SOFTWARE : Infinity;
listen(canvas, this.handlers(), stop.signal);
canvas.addEventListener('webglcontextlost', (event) => event.preventDefault(), { signal: stop.signal });
canvas.addEventListener('webglcontextrestored', () => this.restore(), { signal: stop.signal });
this.observer = new ResizeObserver(() => this.resize());
this.observer.observe(canvas);
}
handlers() {
const moved = (change) => (...values) => {
change(...values);
this.untouched = false;
this.hover(null);
this.draw({ moving: true });
};
return {
turn: moved((dx, dy) => orbit(this.camera, dx, dy)),
shift: moved((dx, dy) => pan(this.camera, dx, dy, this.height)),
zoom: moved((delta) => zoom(this.camera, delta)),
click: (x, y) => this.click(x, y),
hover: (x, y) => this.hover([x, y]),
leave: () => this.hover(null),
reset: () => this.reset(),
key: (key) => this.key(key),
};
}
actions() {
const look = (side) => () => {
lookFrom(this.camera, side);
this.fit();
this.untouched = false;
this.draw();
};
return {
fit: () => this.reset(),
front: look('front'),
side: look('side'),
fullScreen: () => toggleFullScreen(this.frame),
save: () => download(this.snapshot(), 'network.png'),
hide: (layers) => this.hide(layers),
};
}
update({ nodes, kernels, cfg }, emit) {
this.emit = emit;
this.frame.style.height = `${cfg.height}px`;
if (cfg.revision !== this.revision) this.load(readNetwork(nodes, kernels), cfg.revision);
this.palette = paletteFor(getComputedStyle(this.frame).backgroundColor, cfg.palette);
const signs = new Set([...ALWAYS_EXPLAINED, ...this.network.kernels.sign].map((sign) => this.palette.names[sign + 1]));
this.overlay.setTexts(cfg.layers, cfg.legend || `${count(this.network.kernels.count)} kernels drawn`, this.palette, signs);
this.canvas.setAttribute('role', 'application');
const keys = 'arrow keys walk along the strongest kernels';
this.canvas.setAttribute('aria-label', `Network in 3-D: ${cfg.legend}; ${keys}`);
if (cfg.selectedRevision !== this.selectedRevision) {
this.selectedRevision = cfg.selectedRevision;
this.wanted = cfg.selected;
this.trail = null;
this.selectWanted();
}
this.draw();
}
load(network, revision) {
const same = shared(this.network, network);
this.network = network;
this.revision = revision;
this.trail = null;
this.hover(null);
if (!same.places) this.whole = buildScene(network.filters);
if (!same.filters) {
this.hidden = new Set();
this.toolbar.setLayers(this.whole.discs.map(({ layer, first }) => [layer, this.layerName(first)]));
}
this.scene = visiblePart(this.whole, network, this.hidden);
this.renderer.upload(this.scene, network);
this.selectWanted();
if (!same.filters) this.reset();
else if (this.untouched) this.fit();
}
hide(layers) {
this.hidden = layers;
this.scene = visiblePart(this.whole, this.network, layers);
this.renderer.upload(this.scene, this.network);
this.selectWanted();
}
restore() {
this.renderer.build();
if (!this.network) return;
this.renderer.upload(this.scene, this.network);
this.select(this.selection);
}
resize() {
const box = this.canvas.getBoundingClientRect();
if (box.width < 2 || box.height < 2) return;
[this.width, this.height] = [box.width, box.height];
this.pixelRatio = window.devicePixelRatio || 1;
this.canvas.width = Math.round(box.width * this.pixelRatio);
this.canvas.height = Math.round(box.height * this.pixelRatio);
if (this.untouched) this.fit();
this.paint();
}
reset() {
this.camera = createCamera(this.scene?.spacing);
this.untouched = true;
this.fit();
this.draw();
}
fit() {
if (this.scene && this.width) fitCamera(this.camera, outline(this.scene.discs), this.width, this.height, PADDING);
}
selectWanted() {
const selection = found(this.wanted, this.network);
const { source, target } = this.network.kernels;
const ends = !selection ? [] : selection.kind === 'filter' ? [selection.index] : [source, target].map((end) => end[selection.index]);
this.select(ends.every((i) => this.scene.radii[i] > 0) ? selection : null);
}
select(selection) {
this.selection = selection;
const effect = highlight(this.network, selection);
this.states = effect.states;
const { radii } = this.scene;
const { source, target } = this.network.kernels;
effect.lit &&= effect.lit.filter((e) => radii[source[e]] > 0 && radii[target[e]] > 0);
this.lit = effect.lit;
this.renderer.highlight(this.network, effect, selection?.kind === 'kernel' ? selection.index : -1);
this.draw();
}
click(x, y) {
if (!this.network) return;
this.trail = null;
this.choose(this.pick(x, y));
}
choose(selection) {
this.wanted = named(selection, this.network);
this.select(selection);
this.emit('selected', describeSelection(this.selection, this.network, this.revision, this.selectedRevision));
this.overlay.say(selection ? tip(selection, this.network, this.palette).join(': ') : 'nothing selected');
}
key(key) {
if (!this.network) return false;
if (key === 'Escape' && this.selection) this.choose(null);
if (!walks(key)) return false;
const step = walk(this.network, this.selection, key, this.trail, (i) => this.scene.radii[i] > 0);
if (!step) return true;
this.trail = step.trail;
this.choose(step.selection);
return true;
}
pick(x, y) {
const rows = this.lit ?? this.scene.rows;
const eye = { unit: pixelsPerUnit(this.height), nearest: nearestDepth(this.camera.distance) };
return pick(this.scene, this.network, this.screen(), eye, x, y, { rows, states: this.states });
}
hover(place) {
this.hovered = place;
if (!place) {
this.overlay.hideTip();
this.canvas.classList.remove('pointing');
}
if (this.hoverAsked || !place) return;
this.hoverAsked = requestAnimationFrame(() => {
this.hoverAsked = 0;
if (this.hovered && this.network && this.width) this.describe(...this.hovered);
});
}
describe(x, y) {
const under = this.pick(x, y);
this.canvas.classList.toggle('pointing', Boolean(under));
if (!under) return this.describeDisc(x, y);
const [title, text] = tip(under, this.network, this.palette);
if (under.kind === 'kernel') return this.overlay.showTip(title, text, x, y, this.width);
const at = this.filterPixel(under.index);
return this.overlay.showTip(title, text, at.x + at.radius, at.y, this.width, at);
}
disc(x, y) {
const matrix = viewProjection(this.camera, this.width, this.height);
return pickDisc(this.scene.discs, matrix, this.width, this.height, x, y);
}
describeDisc(x, y) {
const disc = this.disc(x, y);
if (!disc) return this.overlay.hideTip();
return this.overlay.showTip(this.layerName(disc.first), `layer of ${count(disc.filters)} filters`, x, y, this.width);
}
layerName(i) {
const uid = this.network.filters.uid[i];
return uid.slice(uid.indexOf('/') + 1, uid.lastIndexOf('/'));
}
snapshot() {
this.moving = false;
this.paint();
const style = getComputedStyle(this.frame);
return flattened(this.canvas, {
background: style.backgroundColor, colour: style.color, font: style.fontFamily,
pixelRatio: this.pixelRatio, ...this.overlay.texts(),
});
}
draw({ moving = false } = {}) {
this.moving = moving;
if (this.asked) return;
this.asked = requestAnimationFrame(() => {
this.asked = 0;
this.paint();
});
}
paint() {
if (!this.width || !this.network || !this.palette) return;
const { moving } = this;
const total = this.scene.rows ? this.scene.rows.length : this.network.kernels.count;
const limit = moving ? Math.min(this.detail, total) : total;
this.projected = null;
this.drawn = moving ? this.paintMoving(limit) : this.renderer.draw(this.viewpoint(), limit);
this.frames += 1;
this.overlay.setDetail(this.detailText(limit, total));
this.overlay.placeCaptions(this.captionPlaces(), this.width);
this.canvas.classList.toggle('turning', moving);
clearTimeout(this.settle);
if (moving) this.settle = setTimeout(() => this.draw(), SETTLED_AFTER);
}
detailText(limit, total) {
if (limit < total) return `while turning: the ${count(limit)} most important`;
const parts = [];
const { size } = this.hidden;
if (size) parts.push(`${count(total)} shown: ${size} ${size > 1 ? 'layers are' : 'layer is'} hidden`);
if (this.lit && total > MOST_FADED) parts.push(`behind the selection the ${count(MOST_FADED)} most important`);
return [...parts, ...(this.note ? [this.note] : [])].join(' · ');
}
paintMoving(limit) {
const start = performance.now();
const drawn = this.renderer.draw(this.viewpoint(), limit);
this.renderer.finish();
this.detail = nextDetail(this.detail, performance.now() - start, this.network.kernels.count);
return drawn;
}
viewpoint() {
return {
matrix: viewProjection(this.camera, this.width, this.height),
width: this.canvas.width,
height: this.canvas.height,
pixelRatio: this.pixelRatio,
unit: pixelsPerUnit(this.canvas.height),
distance: this.camera.distance,
palette: this.palette,
};
}
screen() {
if (!this.projected) {
const matrix = viewProjection(this.camera, this.width, this.height);
this.projected = project(this.scene.positions, matrix, this.width, this.height);
}
return this.projected;
}
captionPlaces() {
const matrix = viewProjection(this.camera, this.width, this.height);
const lowest = this.scene.discs.flatMap(({ centre: [x, y, z], radius }) => [x, y - radius, z]);
const screen = project(Float32Array.from(lowest), matrix, this.width, this.height);
return this.scene.discs
.map(({ layer }, d) => ({ layer, x: screen[3 * d], y: screen[3 * d + 1] + 4, depth: screen[3 * d + 2] }))
.filter(({ depth }) => depth > 0.01);
}
filterPixel(i) {
const screen = this.screen();
const radius = (this.scene.radii[i] * pixelsPerUnit(this.height)) / screen[3 * i + 2];
return { x: screen[3 * i], y: screen[3 * i + 1], radius };
}
kernelPixel(e, t = 0.5) {
const [a, b] = [this.network.kernels.source[e], this.network.kernels.target[e]].map((i) => this.filterPixel(i));
return { x: a.x + t * (b.x - a.x), y: a.y + t * (b.y - a.y) };
}
dispose() {
this.stop.abort();
this.observer.disconnect();
cancelAnimationFrame(this.asked);
cancelAnimationFrame(this.hoverAsked);
clearTimeout(this.settle);
this.renderer.dispose();
this.frame.remove();
}
}
export default mounting((parent, data) => new NetworkView(parent, data.cfg));
