// The report's style sheet: follows the reader's light or dark setting, needs no network.
#pragma once

namespace muster::trainer {

constexpr const char* kReportStyle = R"css(
:root{color-scheme:light dark;--page:#f6f6f4;--card:#fff;--ink:#1c1d20;--soft:#6a6d75;--rule:#e4e4e0;
--c0:#2a6fdb;--c1:#d9662b;--c2:#2f9e6e;--c3:#b04a9b;--c4:#c99a12;--c5:#5b5bd6;--c6:#b83a4b;--c7:#3a8fa3}
@media(prefers-color-scheme:dark){:root{--page:#141518;--card:#1d1f23;--ink:#e9e9e6;--soft:#9a9da6;--rule:#303238;
--c0:#6ea3f5;--c1:#f0935f;--c2:#5fc99a;--c3:#d98ac8;--c4:#e5c15a;--c5:#9b9bf2;--c6:#ec7b89;--c7:#75c3d5}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
main{max-width:1240px;margin:0 auto;padding:40px 24px 64px}
small{font-size:13px}h2 small{font-weight:400;color:var(--soft)}
h1{font-size:28px;line-height:1.2;margin:0;letter-spacing:-.02em}
h2{font-size:17px;margin:40px 0 14px;letter-spacing:-.01em}
header p{color:var(--soft);margin:6px 0 26px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;margin:0;padding:0}
.tile,.card{background:var(--card);border:1px solid var(--rule);border-radius:10px}
.tile{padding:14px 16px}.tile dt{color:var(--soft);font-size:13px}
.tile dd{margin:2px 0 0;font-size:22px;font-weight:600;letter-spacing:-.01em;font-variant-numeric:tabular-nums}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(480px,100%),1fr));gap:16px}
figure{margin:0}.card{padding:16px 16px 8px}
figcaption{font-weight:600}figcaption small{color:var(--soft);font-weight:400}
.legend{display:flex;flex-wrap:wrap;gap:2px 14px;list-style:none;margin:4px 0 6px;padding:0;font-size:13px;color:var(--soft)}
.legend i{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:6px;background:var(--c)}
.legend b{color:var(--ink);font-weight:600;font-variant-numeric:tabular-nums}
svg{display:block;width:100%;height:auto}.card>svg{max-height:330px}
svg text{font-size:10.5px;fill:var(--soft);font-variant-numeric:tabular-nums}
@media(max-width:640px){svg text{font-size:14.5px}}
.grid{stroke:var(--rule)}
.mark{stroke:var(--rule);stroke-dasharray:2 3}text.mark{stroke:none}
.line.dashed{stroke-dasharray:6 4}.legend i.dashed{background:repeating-linear-gradient(90deg,var(--c) 0 4px,transparent 4px 6px)}
.line{fill:none;stroke:var(--c);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.area{fill:var(--c);opacity:.82}.fill{fill:var(--c)}
.at rect{fill:transparent}.at line{stroke:var(--soft);stroke-dasharray:2 3}
.at line,.at .fill{opacity:0;pointer-events:none}.at:hover line,.at:hover .fill{opacity:1}
.c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}
.c4{--c:var(--c4)}.c5{--c:var(--c5)}.c6{--c:var(--c6)}.c7{--c:var(--c7)}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(280px,100%),1fr));gap:16px}
.gallery .card{padding:8px}.gallery img{display:block;width:100%;border-radius:5px}
.gallery figcaption{font-weight:400;font-size:13px;color:var(--soft);padding:8px 4px 2px;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:6px 14px 6px 0;border-bottom:1px solid var(--rule)}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}th{color:var(--soft);font-weight:500;font-size:13px}
tr:last-child td{border:0}
.wide{overflow-x:auto}.wide table{white-space:nowrap}.below{margin-top:16px}.span{grid-column:1/-1}.span table{width:auto}
th{font-weight:500}tr.all td{font-weight:600}
.answer{display:grid;grid-template-columns:minmax(200px,1fr) minmax(0,3fr);gap:12px;margin-bottom:12px}
.answer .tiles{grid-template-columns:1fr}.answer .tile dd{font-size:30px}
.matrix td,.matrix th{padding:6px 10px;border:1px solid var(--rule)}
.matrix .right{background:color-mix(in srgb,var(--c2) var(--p),transparent)}
.matrix .wrong{background:color-mix(in srgb,var(--c6) var(--p),transparent)}
.dot{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:7px;background:var(--c)}
.better{color:var(--c2)}.worse{color:var(--c6)}
.bar{display:flex;height:26px;border-radius:6px;overflow:hidden;margin-bottom:8px}.bar i{background:var(--c)}
.pairs{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(560px,100%),1fr));gap:16px}
.sides{display:grid;grid-template-columns:1fr 1fr;gap:8px;margin:8px 0}.sides p{margin:0 0 4px;font-size:13px;color:var(--soft)}
.shot{border-radius:5px}.shot rect{fill:transparent;stroke:var(--k);stroke-width:2.5;vector-effect:non-scaling-stroke}
.shot text{font-size:calc(var(--u)*4px);fill:#fff;stroke:var(--k);stroke-width:.28em;paint-order:stroke;font-weight:600}
.tp,.legend i.tp{--k:#17864f;--c:#17864f}.fp,.legend i.fp{--k:#c2304a;--c:#c2304a}.fn,.legend i.fn{--k:#b86a00;--c:#b86a00}.none{--k:#5c6370}
.fn rect{stroke-dasharray:6 4}.history table{white-space:normal}.history ul{margin:0;padding-left:18px}
details summary{cursor:pointer;color:var(--soft)}
@media(max-width:640px){main{padding:18px 14px 48px}.answer{grid-template-columns:1fr}
.answer .tiles{grid-template-columns:1fr 1fr 1fr;gap:8px}.answer .tile{padding:10px}.answer .tile dd{font-size:21px}
.tiles{grid-template-columns:1fr 1fr;gap:8px}.card{padding:12px 12px 8px}header p{margin:4px 0 14px;overflow-wrap:anywhere}h2{margin:28px 0 10px}
.sides{grid-template-columns:1fr}}
code,pre{font:12.5px/1.55 ui-monospace,"SF Mono",Menlo,Consolas,monospace;overflow-x:auto;margin:10px 0}
)css";

}  // namespace muster::trainer
