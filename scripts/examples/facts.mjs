/**
 * The facts that the example model knows: public, uncontroversial, written for this repository.
 *
 * Left out on purpose: countries with a disputed or divided seat of government or that span two continents, and
 * names that mean two things here (Mercury is a planet and an element), wherever a question would be ambiguous.
 */

/** Country, capital, continent. */
export const countries = `
Albania Tirana Europe
Algeria Algiers Africa
Andorra Andorra_la_Vella Europe
Angola Luanda Africa
Argentina Buenos_Aires South_America
Australia Canberra Oceania
Austria Vienna Europe
Bahrain Manama Asia
Bangladesh Dhaka Asia
Belarus Minsk Europe
Belgium Brussels Europe
Bhutan Thimphu Asia
Botswana Gaborone Africa
Brazil Brasilia South_America
Bulgaria Sofia Europe
Cambodia Phnom_Penh Asia
Cameroon Yaounde Africa
Canada Ottawa North_America
Chad N'Djamena Africa
Chile Santiago South_America
China Beijing Asia
Colombia Bogota South_America
Costa_Rica San_Jose North_America
Croatia Zagreb Europe
Cuba Havana North_America
Czechia Prague Europe
Denmark Copenhagen Europe
Ecuador Quito South_America
El_Salvador San_Salvador North_America
Eritrea Asmara Africa
Estonia Tallinn Europe
Ethiopia Addis_Ababa Africa
Fiji Suva Oceania
Finland Helsinki Europe
France Paris Europe
Gabon Libreville Africa
Germany Berlin Europe
Ghana Accra Africa
Greece Athens Europe
Guinea Conakry Africa
Guyana Georgetown South_America
Haiti Port-au-Prince North_America
Honduras Tegucigalpa North_America
Hungary Budapest Europe
Iceland Reykjavik Europe
India New_Delhi Asia
Iran Tehran Asia
Iraq Baghdad Asia
Ireland Dublin Europe
Italy Rome Europe
Jamaica Kingston North_America
Japan Tokyo Asia
Jordan Amman Asia
Kenya Nairobi Africa
Laos Vientiane Asia
Latvia Riga Europe
Lebanon Beirut Asia
Liberia Monrovia Africa
Libya Tripoli Africa
Lithuania Vilnius Europe
Madagascar Antananarivo Africa
Malawi Lilongwe Africa
Mali Bamako Africa
Malta Valletta Europe
Mauritania Nouakchott Africa
Mexico Mexico_City North_America
Mongolia Ulaanbaatar Asia
Morocco Rabat Africa
Mozambique Maputo Africa
Namibia Windhoek Africa
Nepal Kathmandu Asia
New_Zealand Wellington Oceania
Nicaragua Managua North_America
Niger Niamey Africa
Nigeria Abuja Africa
Norway Oslo Europe
Oman Muscat Asia
Pakistan Islamabad Asia
Panama Panama_City North_America
Paraguay Asuncion South_America
Peru Lima South_America
Philippines Manila Asia
Poland Warsaw Europe
Portugal Lisbon Europe
Qatar Doha Asia
Romania Bucharest Europe
Rwanda Kigali Africa
Samoa Apia Oceania
Saudi_Arabia Riyadh Asia
Senegal Dakar Africa
Serbia Belgrade Europe
Slovakia Bratislava Europe
Slovenia Ljubljana Europe
Somalia Mogadishu Africa
South_Korea Seoul Asia
Spain Madrid Europe
Sudan Khartoum Africa
Suriname Paramaribo South_America
Sweden Stockholm Europe
Switzerland Bern Europe
Syria Damascus Asia
Tajikistan Dushanbe Asia
Thailand Bangkok Asia
Togo Lome Africa
Tonga Nuku'alofa Oceania
Tunisia Tunis Africa
Uganda Kampala Africa
Ukraine Kyiv Europe
Uruguay Montevideo South_America
Uzbekistan Tashkent Asia
Venezuela Caracas South_America
Vietnam Hanoi Asia
Zambia Lusaka Africa
Zimbabwe Harare Africa`;

/** Country, its currency's name. */
export const currencies = `
Bangladesh taka
Brazil real
China yuan
Costa_Rica colon
Czechia koruna
Denmark krone
Ethiopia birr
Ghana cedi
Honduras lempira
Hungary forint
India rupee
Iran rial
Iraq dinar
Japan yen
Kenya shilling
Malawi kwacha
Mexico peso
Mongolia tugrik
Nigeria naira
Poland zloty
Romania leu
Saudi_Arabia riyal
South_Korea won
Switzerland franc
Thailand baht
Ukraine hryvnia
Vietnam dong
Morocco dirham`;

/** Element, symbol; the line's number is the atomic number. */
export const elements = `
hydrogen H
helium He
lithium Li
beryllium Be
boron B
carbon C
nitrogen N
oxygen O
fluorine F
neon Ne
sodium Na
magnesium Mg
aluminium Al
silicon Si
phosphorus P
sulfur S
chlorine Cl
argon Ar
potassium K
calcium Ca
scandium Sc
titanium Ti
vanadium V
chromium Cr
manganese Mn
iron Fe
cobalt Co
nickel Ni
copper Cu
zinc Zn
gallium Ga
germanium Ge
arsenic As
selenium Se
bromine Br
krypton Kr
rubidium Rb
strontium Sr
yttrium Y
zirconium Zr
niobium Nb
molybdenum Mo
technetium Tc
ruthenium Ru
rhodium Rh
palladium Pd
silver Ag
cadmium Cd
indium In
tin Sn
antimony Sb
tellurium Te
iodine I
xenon Xe
caesium Cs
barium Ba`;

/** Book, author. */
export const books = `
Hamlet William_Shakespeare
Emma Jane_Austen
Don_Quixote Miguel_de_Cervantes
War_and_Peace Leo_Tolstoy
Crime_and_Punishment Fyodor_Dostoevsky
Moby-Dick Herman_Melville
Oliver_Twist Charles_Dickens
Jane_Eyre Charlotte_Bronte
Wuthering_Heights Emily_Bronte
Frankenstein Mary_Shelley
Dracula Bram_Stoker
Ulysses James_Joyce
The_Trial Franz_Kafka
Faust Johann_Goethe
Candide Voltaire
Les_Miserables Victor_Hugo
Madame_Bovary Gustave_Flaubert
The_Stranger Albert_Camus
The_Odyssey Homer
The_Aeneid Virgil
Walden Henry_Thoreau
The_Hobbit John_Tolkien
Dune Frank_Herbert
Foundation Isaac_Asimov
The_Great_Gatsby Scott_Fitzgerald
Mrs_Dalloway Virginia_Woolf
Beloved Toni_Morrison
Pale_Fire Vladimir_Nabokov
Robinson_Crusoe Daniel_Defoe
Treasure_Island Robert_Stevenson
The_Jungle_Book Rudyard_Kipling
The_Time_Machine Herbert_Wells
Brave_New_World Aldous_Huxley
Animal_Farm George_Orwell
Lord_of_the_Flies William_Golding
Peter_Pan James_Barrie
Pinocchio Carlo_Collodi
The_Seagull Anton_Chekhov
Dead_Souls Nikolai_Gogol
The_Scarlet_Letter Nathaniel_Hawthorne
Middlemarch George_Eliot
Little_Women Louisa_Alcott
Pygmalion Bernard_Shaw
Siddhartha Hermann_Hesse`;

/** Animal, its young. */
export const young = `
dog puppy
cat kitten
cow calf
horse foal
sheep lamb
goat kid
lion cub
deer fawn
hen chick
duck duckling
goose gosling
swan cygnet
eagle eaglet
owl owlet
kangaroo joey
frog tadpole
hare leveret
pig piglet
seal pup
eel elver
salmon parr
fox cub
bear cub
wolf pup
elephant calf
whale calf
zebra foal
rabbit kit`;

/** Word, its opposite; both directions are asked. */
export const opposites = `
hot cold
big small
old new
fast slow
high low
hard soft
light dark
rich poor
strong weak
early late
full empty
wet dry
long short
wide narrow
deep shallow
loud quiet
clean dirty
sharp blunt
open closed
thick thin
near far
up down
left right
day night
summer winter
north south
east west
sweet bitter
happy sad
brave cowardly
kind cruel
polite rude
calm nervous
wise foolish
safe dangerous
honest dishonest
beautiful ugly
tasty disgusting
cheerful gloomy
friendly hostile
lovely horrible
clever stupid
gentle rough
fresh rotten
perfect flawed
pleasant nasty
generous greedy
superb dreadful
bright dull
helpful useless`;

export const months = "January February March April May June July August September October November December";
export const days = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday";
export const planets = "Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune";

/** The opposites that say how good something is, by the better one; the task of judging reviews is made of these. */
export const judgements = `
happy brave kind polite calm wise safe honest beautiful tasty cheerful friendly lovely clever gentle fresh perfect
pleasant generous superb bright helpful`;

/** A table's rows; `_` stands for a space inside a name. */
export function rows(table) {
  return table
    .trim()
    .split("\n")
    .map((line) => line.split(" ").map((name) => name.replaceAll("_", " ")));
}

/** The words of a list. */
export function words(list) {
  return list.trim().split(/\s+/);
}

/** A name as a part of a row's id. */
export function slug(text) {
  return text.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
}
